"""BYOL-A's encoder AudioNTT2020 (Niizumi et al., IJCNN 2021), written from its description.

The original (github.com/nttcslab/byol-a) is under NTT's evaluation licence: neither its code nor its weights may be
passed on or used beyond evaluation. Nothing of it is here; who has its weights gives their path, and keeps to that
licence.
"""

from pathlib import Path

from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.models.backbones import read_weights
from dfd.models.foreign import some
from dfd.models.i3d import load_strictly

MELS, CHANNELS, STRIDE = 64, 64, 8  # spectra to a row


class AudioNtt2020(nn.Module):
    """Log-mel spectra (N, 1, 64, T) to features over time (N, T // 8, width)."""

    def __init__(self, width: int = 2048) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (1, CHANNELS, CHANNELS):
            convolution = nn.Conv2d(inputs, CHANNELS, 3, padding=1)
            layers += [convolution, nn.BatchNorm2d(CHANNELS), nn.ReLU(), nn.MaxPool2d(2, stride=2)]
        self.features = nn.Sequential(*layers)
        self.fc = nn.Sequential(
            nn.Linear(CHANNELS * MELS // STRIDE, width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(width, width), nn.ReLU()
        )

    def forward(self, mels: Tensor) -> Tensor:
        """Fold frequency into channels, frequency first."""
        maps = self.features(mels)
        return self.fc(maps.permute(0, 3, 2, 1).flatten(2))


def byola(weights: str | Path) -> AudioNtt2020:
    """Build the encoder that a file holds, whatever its width; every tensor fits or it is an error."""
    state = {_short(key): value for key, value in read_weights(Path(weights).expanduser()).items()}
    if "fc.0.weight" not in state:
        raise DfdError(f"{weights} does not hold BYOL-A's AudioNTT2020: it has no fc.0.weight, but {some(state)}")
    network = AudioNtt2020(state["fc.0.weight"].shape[0])
    load_strictly(network, state, str(weights))
    return network.eval()


def _short(key: str) -> str:
    """Drop what stands before the encoder's own names in files of those who trained it further."""
    places = [place for place in (key.find("features."), key.find("fc.")) if place >= 0]
    return key[min(places) :] if places else key
