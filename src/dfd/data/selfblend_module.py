"""Training on real videos alone: every view comes in two, as it is and blended into itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from dfd.core.errors import DfdError
from dfd.core.records import REAL, Record
from dfd.data.align import RESIZES, show
from dfd.data.crops import CROP_BOX, LANDMARKS
from dfd.data.datamodule import FaceDataModule
from dfd.data.readers import open_crops
from dfd.data.selfblend import self_blend
from dfd.data.views import FaceViews, Views, Visit, pick_views


class SelfBlendedViews(FaceViews):
    """Views of real videos and self-blends of them; labels are of views, not of videos.

    `outlines` is a folder of `<video id>.npy`, (rows of the frame table, 68 or 81, 2) in pixels of the frame; without
    it the hull is laid through five points.
    """

    def __init__(self, *args: Any, outlines: Path | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.outlines = outlines

    def __getitem__(self, visit: Visit | int) -> Views:
        video, seed = visit if isinstance(visit, tuple) else (visit, None)
        record, random = self.records[video], np.random.default_rng(seed if seed is not None else video)
        with open_crops(self.folder, record.assets) as crops:
            table = self._table(record, crops)
            members, _ = self._face(record, crops, random)
            try:
                rows = pick_views(table, members, self.input, self.views, self.sampling, random)
            except DfdError as error:
                raise DfdError(f"{record.dataset}/{record.id}: {error}") from None
            images = crops.read(rows.ravel())
        draw = self._draws(len(rows), random)
        marks = self.landmarks(record, table, rows.ravel(), [image.shape[0] for image in images])
        count = rows.shape[1]
        pairs: list[list[np.ndarray]] = [[], []]
        for number, seed_of_view in enumerate(draw):
            part = slice(number * count, (number + 1) * count)
            both = self._pair(images[part], marks[part], table, rows[number], int(seed_of_view))
            for kind, shown in zip(pairs, both, strict=True):
                kind.append(shown)
        pixels = np.concatenate([np.stack(kind) for kind in pairs]).transpose(0, 1, 4, 2, 3)
        pixels = pixels if self.input.kind == "clip" else pixels[:, 0]
        both_kinds: Any = {"pixels": np.ascontiguousarray(pixels), "t": np.tile(table["t"][rows[:, 0]], 2)}
        return both_kinds | {"draw": np.tile(draw, 2), "label": np.repeat([0, 1], len(rows)), "video": video}

    def _pair(
        self, images: Sequence[np.ndarray], marks: np.ndarray, table: Any, rows: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the frames of one view as they are and blended, shown and augmented alike, (T, S, S, 3) each."""
        real, fake = self_blend(*_one_size(images, marks), np.random.default_rng(seed))[:2]
        how = (self.input.size, self.showing.margin, self.showing.align, RESIZES[self.sampling])
        both = np.stack([show(image, table, row, *how) for side in (real, fake) for image, row in zip(side, rows)])
        if self.augment is not None:
            both = self.augment(both, seed)
        return both[: len(rows)], both[len(rows) :]

    def landmarks(self, record: Record, table: Any, rows: np.ndarray, sides: Sequence[int]) -> np.ndarray:
        """Return the landmarks (N, P, 2) of rows in the pixels of their crops."""
        if self.outlines is not None:
            path = self.outlines / f"{record.id}.npy"
            if not path.is_file():
                raise DfdError(f"data.loader.outlines: no {path}; null lays hulls through five points")
            points = np.load(path)[rows].astype(np.float64)
        else:
            points = np.stack([table[name][rows] for name in LANDMARKS], 1).reshape(-1, 5, 2).astype(np.float64)
        box = np.stack([table[name][rows] for name in CROP_BOX], 1)
        scale = np.array(sides) / np.maximum(box[:, 2] - box[:, 0], 1e-6)
        return (points - box[:, None, :2]) * scale[:, None, None]


def _one_size(images: Sequence[np.ndarray], marks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frames as one array: crops of a face that comes nearer grow, and one draw wants one size."""
    import cv2

    side = max(image.shape[0] for image in images)
    scale = np.array([side / image.shape[0] for image in images])
    resized = [image if image.shape[0] == side else cv2.resize(image, (side, side)) for image in images]
    return np.stack(resized), marks * scale[:, None, None]


class SelfBlendDataModule(FaceDataModule):
    """Training views of real videos and their self-blends; evaluation as of any faces.

    The arguments of `FaceDataModule`, and

    Args:
        outlines: folder of 68 or 81 landmarks per face; None lays hulls through five points, another recipe.
    """

    makes_fakes = True  # a training split of real videos alone can be learned from

    def __init__(self, *args: Any, outlines: str | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.outlines = None if outlines is None else Path(outlines).expanduser()

    def records(self, split: str) -> tuple[Record, ...]:
        """Return the records of a split; only real ones are trained on."""
        records = super().records(split)
        if split != "train":
            return records
        real = tuple(record for record in records if record.label == REAL)
        if not real:
            raise DfdError("the train split holds no real video: self-blends are made of real ones")
        return real

    def training_dataset(self, records: Sequence[Record]) -> Dataset[Views]:
        """Return pairs of real views and their self-blends."""
        return SelfBlendedViews(
            records, self.manifest.folder, self.input, self.train_views, self.augment, self.showing, self.sampling,
            outlines=self.outlines,
        )  # fmt: skip
