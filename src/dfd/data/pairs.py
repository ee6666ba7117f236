"""Pairs of pictures for a restorer: sharp face crops, and the same degraded; nothing but seed and record decides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from torch.utils.data import Dataset

from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.records import PairInput, Record
from dfd.data.corrupt import seed_of
from dfd.data.datamodule import RecordDataModule
from dfd.data.degrade import degrade, draw
from dfd.data.readers import open_crops
from dfd.data.sampler import Balance, Visit


class PairViews(Dataset[dict[str, Any]]):
    """Pairs of every record: in training random places of random frames, in evaluation the middle of fixed ones."""

    def __init__(self, records: Sequence[Record], folder: Path, input: PairInput, views: int) -> None:
        self.records, self.folder, self.input, self.views = tuple(records), folder, input, views

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, visit: Visit | int) -> dict[str, Any]:
        video, seed = visit if isinstance(visit, tuple) else (visit, None)
        record = self.records[video]
        random = np.random.default_rng(seed_of(f"{record.dataset}/{record.id}") if seed is None else seed)
        with open_crops(self.folder, record.assets) as crops:
            valid = np.flatnonzero(crops.table["valid"])
            if not len(valid):
                raise DfdError(f"{record.dataset}/{record.id} shows no face")
            rows = valid[np.linspace(0, len(valid) - 1, self.views).round().astype(int)] if seed is None else None
            rows = random.choice(valid, self.views) if rows is None else rows
            images, t = crops.read(rows), crops.table["t"][rows]
        pairs = [self._pair(image, random, seed is not None) for image in images]
        clean, degraded = (np.ascontiguousarray(np.stack(each).transpose(0, 3, 1, 2)) for each in zip(*pairs))
        return {"degraded": degraded, "clean": clean, "t": t, "draw": np.arange(len(t)), "video": video}

    def _pair(self, image: np.ndarray, random: np.random.Generator, anywhere: bool) -> tuple[np.ndarray, np.ndarray]:
        size = self.input.size
        if min(image.shape[:2]) < size:  # never enlarged: what is missing is mirrored
            missing = [max(0, size - side) for side in image.shape[:2]]
            image = cv2.copyMakeBorder(image, 0, missing[0], 0, missing[1], cv2.BORDER_REFLECT_101)
        spare = [side - size for side in image.shape[:2]]
        y, x = (int(random.integers(each + 1)) if anywhere else each // 2 for each in spare)
        changed = degrade(image, draw(random), random)
        clean, pixels = (each[y : y + size, x : x + size] for each in (image, changed))
        if anywhere and random.random() < 0.5:
            clean, pixels = clean[:, ::-1], pixels[:, ::-1]
        return clean, pixels


class PairDataModule(RecordDataModule):
    """Sharp face crops of a manifest and what they become when they are degraded.

    The arguments of `RecordDataModule`, and

    Args:
        eval_frames: pairs of each record in evaluation.
        faces: how a detector would be shown faces; a restorer sees stored crops as they are.
    """

    kinds = ("pair",)

    def __init__(
        self,
        manifest: Manifest,
        input: PairInput,
        batch_size: int = 16,
        eval_frames: int = 4,
        visits: int = 1,
        balance: Balance = "natural",
        workers: int | Literal["auto"] = "auto",
        seed: int = 0,
        prefetch: int = 2,
        **faces: object,
    ) -> None:
        if input.kind != "pair":
            raise DfdError(f"this loader makes pairs of pictures; the network asks for {input.kind!r}")
        super().__init__(manifest, input, batch_size, visits, balance, workers, seed, prefetch)
        if any("crops" not in record.assets for record in manifest.records):
            raise DfdError(
                "pairs are made of face crops, and this dataset has none: take data=ffpp, or another of faces"
            )
        self.eval_views = eval_frames

    def training_dataset(self, records: Sequence[Record]) -> PairViews:
        """Return random pairs of these records."""
        return PairViews(records, self.manifest.folder, self.input, self.input.crops)

    def evaluation_dataset(self, records: Sequence[Record]) -> PairViews:
        """Return the same pairs every time."""
        return PairViews(records, self.manifest.folder, self.input, self.eval_views)
