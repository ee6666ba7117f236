"""TSN features of every frame, 2048 values, RGB or flow: what UMMAFormer was trained on."""

from collections.abc import Sequence

import numpy as np
import torch

from dfd.data.features import FeatureFacts
from dfd.models.tsn import FEATURES, STACK, tsn
from dfd.preprocess.features.base import FPS, Flow, Frame, Looks, file_digest, middle
from dfd.preprocess.features.flow import Dis, fields

SIDE = 256
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class TsnFeatures(Looks):
    """One row per frame; a flow network sees five fields of motion about it.

    Args:
        weights: a checkpoint of mmaction2's TSN on ResNet-50; the file says whether it sees RGB or flow.
        flow: how motion is estimated, for a flow network; null: DIS.
        batch: frames at a time.
        device: where the network runs.
    """

    def __init__(self, weights: str, flow: Flow | None = None, batch: int = 16, device: str = "cpu") -> None:
        network, channels = tsn(weights)
        self._network, self._moves = network.to(device), channels != 3
        self._flow: Flow = flow or Dis()
        self._batch, self._device = batch, device
        self.before, self.after = (STACK // 2, STACK - STACK // 2) if self._moves else (0, 0)
        name = "tsn_flow" if self._moves else "tsn_rgb"
        self.streams = (FeatureFacts(name, FPS, FEATURES, 0.5 / FPS),)
        self.identity = {"extractor": name, "version": 1, "weights": file_digest(weights)}
        self.identity |= self._flow.identity if self._moves else {}

    def look(self, frames: Sequence[Frame]) -> dict[str, np.ndarray]:
        """Show the network every frame, or the motion around it."""
        rows = []
        inputs = self._fields(frames) if self._moves else [middle(frame.rgb(SIDE), SIDE) for frame in frames]
        mean, std = ((128.0,), (128.0,)) if self._moves else (MEAN, STD)
        for first in range(0, len(inputs), self._batch):
            pixels = torch.from_numpy(np.stack(inputs[first : first + self._batch])).to(self._device).float()
            pixels = (pixels - torch.tensor(mean, device=self._device)) / torch.tensor(std, device=self._device)
            with torch.inference_mode():
                rows.append(self._network(pixels.permute(0, 3, 1, 2)).float().cpu().numpy())
        return {self.streams[0].name: np.concatenate(rows)}

    def _fields(self, frames: Sequence[Frame]) -> list[np.ndarray]:
        """Return five fields about every frame as channels x0, y0, x1, y1, ..."""
        steps = fields(frames, SIDE, SIDE, self._flow)
        return [np.concatenate(steps[i : i + STACK], 2) for i in range(len(steps) - STACK + 1)]
