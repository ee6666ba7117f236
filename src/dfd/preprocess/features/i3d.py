"""I3D features: the mean of what a clip of 16 frames leaves before the classifier, 1024 values, RGB or flow."""

from collections.abc import Sequence

import numpy as np
import torch

from dfd.data.features import FeatureFacts
from dfd.models.i3d import FEATURES, i3d
from dfd.preprocess.features.base import FPS, Flow, Frame, Looks, file_digest, middle
from dfd.preprocess.features.flow import Dis, fields

SIDE, RESIZED = 224, 256


class I3dFeatures(Looks):
    """One row for every `stride` frames, about a window of `window` frames with that frame in its middle.

    Args:
        weights: of pytorch-i3d, `rgb_imagenet.pt` or `flow_imagenet.pt`; the file says which it is.
        stride: frames from row to row; forgeries of a fifth of a second want 1 to 4.
        window: frames; published features of 16 frames are the usual ones.
        flow: how motion is estimated, for a flow network; null: DIS.
        batch: windows at a time.
        device: where the network runs.
    """

    def __init__(
        self,
        weights: str,
        stride: int = 4,
        window: int = 16,
        flow: Flow | None = None,
        batch: int = 4,
        device: str = "cpu",
    ) -> None:
        self._network = i3d(weights).to(device)
        self._moves = self._network.Conv3d_1a_7x7.conv3d.in_channels == 2
        self._flow: Flow = flow or Dis()
        self.stride, self.window, self._batch, self._device = stride, window, batch, device
        self.before, self.after = window // 2, window - window // 2 - 1 + self._moves
        name = "i3d_flow" if self._moves else "i3d_rgb"
        self.streams = (FeatureFacts(name, FPS / stride, FEATURES, 0.5 / FPS),)
        options = {"stride": stride, "window": window, **(self._flow.identity if self._moves else {})}
        self.identity = {"extractor": name, "version": 1, "weights": file_digest(weights), **options}

    def look(self, frames: Sequence[Frame]) -> dict[str, np.ndarray]:
        """Show the network a window about every frame that a row is due for."""
        if self._moves:
            steps = fields(frames, RESIZED, SIDE, self._flow)
        else:
            steps = [middle(frame.rgb(RESIZED), SIDE) for frame in frames]
        count = len(frames) - self.before - self.after
        starts = range(0, count, self.stride)
        rows = []
        for first in range(0, len(starts), self._batch):
            clips = np.stack([steps[start : start + self.window] for start in starts[first : first + self._batch]])
            pixels = torch.from_numpy(clips).to(self._device).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
            with torch.inference_mode():
                rows.append(self._network(pixels).float().cpu().numpy())
        return {self.streams[0].name: np.concatenate(rows)}
