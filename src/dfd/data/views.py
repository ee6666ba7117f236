"""Records to views: read crops, choose frames or clips, resize, augment; what a worker process does for one video."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import cv2
import numpy as np
from torch.utils.data import Dataset

from dfd.core.errors import DfdError
from dfd.core.records import InputSpec, Record
from dfd.data.augment import Augment
from dfd.data.crops import CropReader, Table
from dfd.data.sampling import Sampling, choose, official


class Visit(NamedTuple):
    """One look at a video: which, and the seed of everything random about it (None: the fixed views of evaluation)."""

    video: int
    seed: int | None = None


class Views(TypedDict):
    """Views of one video: pixels (K, 3, S, S) or (K, T, 3, S, S) uint8, times (K,) in seconds."""

    pixels: np.ndarray
    t: np.ndarray
    label: int
    video: int


class FaceViews(Dataset[Views]):
    """The views that a network's input asks for, of every record; indexed by a `Visit`."""

    def __init__(
        self,
        records: Sequence[Record],
        folder: Path,
        input: InputSpec,
        views: int = 1,
        augment: Augment | None = None,
        sampling: Sampling = "even",
    ) -> None:
        if input.kind not in ("image", "clip"):
            raise DfdError(f"face crops can be shown as image or clip, the network asks for {input.kind!r}")
        self.records = tuple(records)
        self.folder = folder
        self.input = input
        self.views = views
        self.augment = augment
        self.sampling = sampling

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, visit: Visit | int) -> Views:
        video, seed = visit if isinstance(visit, tuple) else (visit, None)
        record, spec = self.records[video], self.input
        generator = None if seed is None else np.random.default_rng(seed)
        with CropReader(self.folder / record.assets["crops"]) as crops:
            table = crops.table
            try:
                rows = self._rows(table, generator)
            except DfdError as error:
                raise DfdError(f"{record.dataset}/{record.id}: {error}") from None
            images = crops.read(rows.ravel())
        if self.augment is not None and generator is not None:
            stack = self._augmented(images, generator)
        else:
            stack = np.stack([fit(image, spec.size) for image in images])
        pixels = stack.transpose(0, 3, 1, 2)
        if spec.kind == "clip":
            pixels = pixels.reshape(len(rows), spec.frames, *pixels.shape[1:])
        return Views(pixels=np.ascontiguousarray(pixels), t=table["t"][rows[:, 0]], label=record.label, video=video)

    def _rows(self, table: Table, generator: np.random.Generator | None) -> np.ndarray:
        spec = self.input
        if self.sampling == "official":
            return official(table["valid"], self.views, spec.frames, spec.stride, generator)
        return choose(table["frame"], table["valid"], self.views, spec.frames, spec.stride, generator)

    def _augmented(self, images: Sequence[np.ndarray], generator: np.random.Generator) -> np.ndarray:
        """One draw for all clips of a video, since its frames belong together; one draw per view for images."""
        together = [images] if self.input.kind == "clip" else [[image] for image in images]
        return np.concatenate([self._one_draw(group, int(generator.integers(2**31))) for group in together])

    def _one_draw(self, images: Sequence[np.ndarray], seed: int) -> np.ndarray:
        assert self.augment is not None
        if self.augment.stored is not None:
            side = max(image.shape[0] for image in images)  # crops of a face that comes nearer grow
            images = list(self.augment.before(np.stack([fit(image, side) for image in images]), seed))
        return self.augment(np.stack([fit(image, self.input.size) for image in images]), seed)


def fit(image: np.ndarray, size: int) -> np.ndarray:
    """Resize a crop to the network's size, by area when it shrinks and cubic when it grows."""
    if image.shape[:2] == (size, size):
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if size < image.shape[0] else cv2.INTER_CUBIC)
