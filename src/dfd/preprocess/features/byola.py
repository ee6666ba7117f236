"""BYOL-A features: 12.5 rows a second of log-mel spectra through AudioNTT2020, with weights by path."""

import numpy as np
import torch

from dfd.data.features import FeatureFacts
from dfd.models.byola import MELS, STRIDE, byola
from dfd.preprocess.features.base import HERTZ, Listens, file_digest
from dfd.preprocess.features.spectra import htk_bank

WINDOW, HOP = 1024, 160
AROUND = STRIDE * 2  # spectra of context: three convolutions and poolings see as far


class ByolaFeatures(Listens):
    """One row for every 80 ms.

    Args:
        weights: of AudioNTT2020, such as `AudioNTT2020-BYOLA-64x96d2048.pth`; mind their licence (evaluation only).
        mean: of log-mel values over the training set; the published one by default.
        std: their standard deviation.
        device: where the network runs.
    """

    hop = HOP * STRIDE
    samples_before = samples_after = AROUND * HOP + WINDOW // 2

    def __init__(self, weights: str, mean: float = -5.4919, std: float = 5.0390, device: str = "cpu") -> None:
        self._network, self._device = byola(weights).to(device), device
        self._mean, self._std = mean, std
        self._bank = torch.from_numpy(htk_bank(MELS, WINDOW, HERTZ, 60.0, 7800.0)).to(device)
        width = self._network.fc[0].out_features
        middle = (STRIDE - 1) / 2 * HOP / HERTZ  # of the eight spectra of a row, the first of which is about 0 s
        self.streams = (FeatureFacts("byola", HERTZ / self.hop, int(width), middle, "audio"),)  # type: ignore[arg-type]
        self.identity = {"extractor": "byola", "version": 1, "weights": file_digest(weights), "mean": mean, "std": std}

    def listen(self, samples: np.ndarray) -> dict[str, np.ndarray]:
        """Show the network the spectra of a stretch, with context that its own rows then leave out."""
        heard = torch.from_numpy(np.ascontiguousarray(samples)).to(self._device)
        window = torch.hann_window(WINDOW, device=self._device)
        with torch.inference_mode():
            power = torch.stft(heard, WINDOW, HOP, window=window, center=False, return_complex=True).abs().square()
            mels = ((self._bank @ power + 1.19e-7).log() - self._mean) / self._std
            rows = self._network(mels[None, None])[0]
        around = AROUND // STRIDE
        wanted = (len(samples) - self.samples_before - self.samples_after) // self.hop
        return {"byola": rows[around : around + wanted].float().cpu().numpy()}
