"""Frame features of any backbone of timm, or of any detector that was trained here."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from dfd.core.errors import DfdError
from dfd.core.run_folder import find_checkpoint
from dfd.data.features import FeatureFacts
from dfd.models.backbones import backbone
from dfd.models.checkpoint import load_network
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


class RunFeatures(Looks):
    """The features before the last layer of a detector that was trained here, for every `stride`-th frame.

    The middle of the whole frame is shown: made for videos of faces, as those of LAV-DF are. A detector of clips sees
    the frames about the one that a row is due for.

    Args:
        run: a run folder or a checkpoint.
        stride: frames from row to row.
        batch: views at a time.
        device: where the network runs.
        stream: the name of what it makes.
    """

    def __init__(
        self, run: str, stride: int = 1, batch: int = 16, device: str = "cpu", stream: str = "detector"
    ) -> None:
        loaded = load_network(Path(run).expanduser())
        self._network, spec = loaded.network.to(device), loaded.network.input
        if spec.kind not in ("image", "clip"):
            raise DfdError(f"{run} looks at {spec.kind}; features of frames come from a detector of images or clips")
        self._size, self._frames, self._apart = spec.size, spec.frames, spec.stride
        span = (spec.frames - 1) * spec.stride
        self.before, self.after = span // 2, span - span // 2
        self.stride, self._batch, self._device, self._clips = stride, batch, device, spec.kind == "clip"
        blank = torch.zeros(1, *spec.shape, device=device)
        with torch.inference_mode():
            width = self._network(blank).features.shape[1]
        self.streams = (FeatureFacts(stream, FPS / stride, int(width), 0.5 / FPS),)
        weights = file_digest(find_checkpoint(Path(run).expanduser()))
        self.identity = {"extractor": "run", "version": 1, "weights": weights, "stride": stride}

    def look(self, frames: Sequence[Frame]) -> dict[str, np.ndarray]:
        """Show the detector the middle of every frame, or of the frames about it."""
        shown = [middle(frame.rgb(self._size), self._size) for frame in frames]
        count = len(frames) - self.before - self.after
        views = [self._view(shown, start) for start in range(0, count, self.stride)]
        rows = []
        for first in range(0, len(views), self._batch):
            pixels = torch.from_numpy(np.stack(views[first : first + self._batch])).to(self._device)
            with torch.inference_mode():
                rows.append(self._network(self._network.pixels(pixels)).features.float().cpu().numpy())
        return {self.streams[0].name: np.concatenate(rows)}

    def _view(self, shown: Sequence[np.ndarray], start: int) -> np.ndarray:
        if not self._clips:
            return shown[start].transpose(2, 0, 1)
        picked = shown[start : start + (self._frames - 1) * self._apart + 1 : self._apart]
        return np.stack(picked).transpose(0, 3, 1, 2)
