"""Optical flow between two frames: OpenCV's DIS, which needs no weights, or torchvision's RAFT with weights by path.

Published two-stream features were made with TV-L1 at a bound of 20 pixels; DIS recovers larger motion. Features of
different estimators are different features, and the estimator is part of what identifies them.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from dfd.core.errors import DfdError
from dfd.preprocess.features.base import Flow, Frame, file_digest, middle

BOUND = 20.0  # pixels: what published two-stream networks were trained with
PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
TENSORS_OF_SMALL = 106  # RAFT large has 169


class Dis(Flow):
    """Dense inverse search (Kroeger et al., ECCV 2016)."""

    def __init__(self, preset: Literal["ultrafast", "fast", "medium"] = "medium") -> None:
        self.name = f"dis-{preset}"
        self.identity: Mapping[str, Any] = {"flow": self.name}
        self._dis = cv2.DISOpticalFlow.create(PRESETS[preset])

    def __call__(self, one: np.ndarray, two: np.ndarray) -> np.ndarray:
        """Return the motion from one RGB frame to the other, (H, W, 2) in pixels."""
        grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (one, two)]
        return self._dis.calc(grey[0], grey[1], None)  # type: ignore[call-overload]


class Raft(Flow):
    """RAFT (Teed & Deng, ECCV 2020) as torchvision builds it, from a file of its weights."""

    def __init__(self, weights: str, device: str = "cpu", updates: int = 12) -> None:
        import torch
        from torchvision.models.optical_flow import raft_large, raft_small

        from dfd.models.backbones import read_weights

        state = read_weights(Path(weights).expanduser())
        small = len(state) <= TENSORS_OF_SMALL
        network: Any = (raft_small if small else raft_large)(weights=None)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise DfdError(f"{weights} does not hold the weights of torchvision's RAFT: {str(error)[:200]}") from None
        self._torch, self._device, self._updates = torch, device, updates
        self._network = network.eval().to(device)
        self.name = f"raft-{'small' if small else 'large'}"
        self.identity: Mapping[str, Any] = {"flow": self.name, "updates": updates, "weights": file_digest(weights)}

    def __call__(self, one: np.ndarray, two: np.ndarray) -> np.ndarray:
        """Return the motion from one RGB frame to the other, (H, W, 2) in pixels."""
        torch, (height, width) = self._torch, one.shape[:2]
        pad = [(0, max(128, -(-height // 8) * 8) - height), (0, max(128, -(-width // 8) * 8) - width), (0, 0)]
        pair = np.stack([np.pad(image, pad, "edge") for image in (one, two)])
        pixels = torch.from_numpy(pair).to(self._device).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.inference_mode():
            flow = self._network(pixels[:1], pixels[1:], num_flow_updates=self._updates)[-1][0]
        return flow.permute(1, 2, 0).cpu().numpy()[:height, :width]


def fields(frames: Sequence[Frame], side: int, crop: int, flow: Flow) -> list[np.ndarray]:
    """Return the motion from every frame to the next as published networks see it, (crop, crop, 2) uint8.

    Beyond the ends of a file its first or last field is repeated.
    """
    steps = [
        None if one.beyond or two.beyond else quantised(middle(one.flow_to(two, side, flow), crop))
        for one, two in pairwise(frames)
    ]
    known = [step for step in steps if step is not None]
    still = np.full((crop, crop, 2), 128, np.uint8)
    first, last = (known[0], known[-1]) if known else (still, still)
    begun, filled = False, []
    for step in steps:
        begun = begun or step is not None
        filled.append(step if step is not None else last if begun else first)
    return filled


def quantised(flow: np.ndarray, bound: float = BOUND) -> np.ndarray:
    """Return flow as published pipelines keep it: clipped to +-bound and rounded to 8 bits, 128 for no motion."""
    return np.clip(np.round((flow + bound) * (255 / (2 * bound))), 0, 255).astype(np.uint8)
