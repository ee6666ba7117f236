"""Frame features of any backbone of timm, or of any detector that was trained here."""

from collections.abc import Sequence

import numpy as np
import torch

from dfd.data.features import FeatureFacts
from dfd.models.backbones import backbone
from dfd.preprocess.features.base import FPS, Frame, Looks, file_digest, middle


class TimmFeatures(Looks):
    """The pooled features of every `stride`-th frame under a backbone of timm.

    Args:
        name: of the backbone.
        pretrained: true (the hub), false, or a file of weights.
        stride: frames from row to row.
        batch: frames at a time.
        device: where the network runs.
        stream: the name of what it makes.
    """

    def __init__(
        self,
        name: str = "resnet50",
        pretrained: bool | str = True,
        stride: int = 1,
        batch: int = 16,
        device: str = "cpu",
        stream: str = "frames",
    ) -> None:
        network, spec, origin = backbone(name, pretrained)
        self._network, self._size = network.eval().to(device), spec.size
        self._mean, self._std = (torch.tensor(values, device=device) * 255 for values in (spec.mean, spec.std))
        self.stride, self._batch, self._device = stride, batch, device
        self.streams = (FeatureFacts(stream, FPS / stride, int(network.num_features), 0.5 / FPS),)  # type: ignore[arg-type]
        file = file_digest(pretrained) if isinstance(pretrained, str) else None
        self.identity = {"extractor": "timm", "version": 1, "name": name, "origin": file or origin, "stride": stride}

    def look(self, frames: Sequence[Frame]) -> dict[str, np.ndarray]:
        """Show the network the middle of every frame that a row is due for."""
        due = frames[:: self.stride]
        rows = []
        for first in range(0, len(due), self._batch):
            shown = np.stack([middle(frame.rgb(self._size), self._size) for frame in due[first : first + self._batch]])
            pixels = (torch.from_numpy(shown).to(self._device).float() - self._mean) / self._std
            with torch.inference_mode():
                rows.append(self._network(pixels.permute(0, 3, 1, 2)).float().cpu().numpy())
        return {self.streams[0].name: np.concatenate(rows)}
