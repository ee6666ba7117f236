"""Views of a record: crops are read, frames or clips chosen, resized and augmented, in a loader process."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import numpy as np
from torch.utils.data import Dataset

from dfd.core.card import Showing
from dfd.core.errors import DfdError
from dfd.core.records import InputSpec, Record
from dfd.data.align import RESIZES, fit, show, shown_points
from dfd.data.cache import ShownCrops
from dfd.data.crops import LANDMARKS, CropReader
from dfd.data.readers import Reader, open_crops
from dfd.data.sampling import Sampling, choose, official

if TYPE_CHECKING:
    from dfd.data.augment import Augment


class Visit(NamedTuple):
    """One visit of a video: its number, and the seed of its random choices (None: the fixed views of evaluation)."""

    video: int
    seed: int | None = None


class Views(TypedDict):
    """Views of one video: pixels (K, 3, S, S) or (K, T, 3, S, S) uint8, times (K,) in seconds, seeds `draw` (K,)."""

    pixels: np.ndarray
    t: np.ndarray
    draw: np.ndarray
    label: int
    video: int


def pick_views(
    table: Mapping[str, np.ndarray],
    members: np.ndarray,
    input: InputSpec,
    views: int,
    sampling: Sampling = "even",
    generator: np.random.Generator | None = None,
) -> np.ndarray:
    """Choose what is shown of one person, in training, in evaluation and by the engine alike.

    Args:
        table: the frame table of a video's crops.
        members: rows of the table that show the person.
        input: what the network takes.
        views: how many views are wanted.
        sampling: how clips are chosen.
        generator: random views in training; None gives the fixed views of evaluation.

    Returns:
        Rows of the table, (views, frames).
    """
    frames, valid = table["frame"][members], table["valid"][members]
    if sampling == "official":
        return members[official(valid, views, input.frames, input.stride, generator)]
    return members[choose(frames, valid, views, input.frames, input.stride, generator)]


class FaceViews(Dataset[Views]):
    """The views that a network's input asks for, of every record; indexed by a `Visit`.

    With a `cache` folder crops are kept as they are shown; not those that augmentation changes at their stored size.
    """

    def __init__(
        self,
        records: Sequence[Record],
        folder: Path,
        input: InputSpec,
        views: int = 1,
        augment: "Augment | None" = None,
        showing: Showing = Showing(),  # noqa: B008 - immutable
        sampling: Sampling = "even",
        cache: Path | None = None,
    ) -> None:
        self.records = tuple(records)
        self.folder = folder
        self.input = input
        self.views = views
        self.augment = augment
        self.showing = showing
        self.sampling = sampling
        self.cache = cache

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, visit: Visit | int) -> Views:
        video, seed = visit if isinstance(visit, tuple) else (visit, None)
        record, spec = self.records[video], self.input
        generator = None if seed is None else np.random.default_rng(seed)
        with open_crops(self.folder, record.assets) as crops:
            table = self._table(record, crops)
            members, label = self._face(record, crops, generator)
            try:
                rows = pick_views(table, members, spec, self.views, self.sampling, generator)
            except DfdError as error:
                raise DfdError(f"{record.dataset}/{record.id}: {error}") from None
            stack, points = self._stack(record, crops, table, rows.ravel(), generator is not None)
        draw = self._draws(len(rows), generator)
        if self.augment is not None and generator is not None:
            stack = self._augmented(stack, points, draw)
        pixels = stack.transpose(0, 3, 1, 2)
        if spec.kind == "clip":
            pixels = pixels.reshape(len(rows), spec.frames, *pixels.shape[1:])
        t = table["t"][rows[:, 0]]
        return Views(pixels=np.ascontiguousarray(pixels), t=t, draw=draw, label=label, video=video)

    def _stack(
        self, record: Record, crops: Reader, table: Mapping[str, np.ndarray], rows: np.ndarray, training: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return crops as they are shown, (N, S, S, 3), and their landmarks (N, 5, 2) where augmentation wants them."""
        how = (self.showing.margin, self.showing.align)
        if training and self.augment is not None and self.augment.stored is not None:
            images = crops.read(rows)
            # what is augmented before the resize is shown at one size all the same: crops of a nearing face grow
            side = max(image.shape[0] for image in images)
            pairs = list(zip(images, rows.tolist(), strict=True))
            points = np.stack([shown_points(image, table, row, side, *how) for image, row in pairs])
            return np.stack([show(image, table, row, side, *how) for image, row in pairs]), points
        with self._kept(record) as kept:
            known = {row: kept.read(row) if kept else None for row in rows.tolist()}
            seen = {row: image for row, image in known.items() if image is not None}
            missing = [row for row in known if row not in seen]
            for row, image in zip(missing, crops.read(missing), strict=True):
                seen[row] = show(image, table, row, self.input.size, *how, RESIZES[self.sampling])
                if kept:
                    kept.write(row, seen[row])
        return np.stack([seen[row] for row in rows.tolist()]), None

    def _kept(self, record: Record) -> AbstractContextManager[ShownCrops | None]:
        """Open what is kept of a record, in a place that says how it is shown."""
        if self.cache is None:
            return nullcontext()
        path, size, (margin, align, *_) = (
            (self.folder / record.assets["crops"]).absolute(),
            self.input.size,
            self.showing,
        )
        exact = align and "landmarks" in record.assets
        shown = [str(size), margin is not None and f"margin{margin:g}", align and "aligned", exact and "exactly"]
        shown += [RESIZES[self.sampling] is not fit and self.sampling]
        place = self.cache / "-".join(word for word in shown if word) / path.relative_to(path.anchor)
        return ShownCrops(place.with_name(f"{place.name}.raw"), path, size)

    def _table(self, record: Record, crops: Reader) -> dict[str, np.ndarray]:
        """Return the table of frames, with exact landmarks where they were found and are asked for."""
        if not self.showing.align or "landmarks" not in record.assets:
            return crops.table
        points = np.load(self.folder / record.assets["landmarks"]).reshape(-1, 10).astype(np.float64)
        seen = np.isfinite(points).all(1)
        columns = {name: np.where(seen, points[:, i], crops.table[name]) for i, name in enumerate(LANDMARKS)}
        return crops.table | columns

    def _face(self, record: Record, crops: Reader, generator: np.random.Generator | None) -> tuple[np.ndarray, int]:
        """Return the rows of one face, and its label; evaluation shows the main one as it is labelled."""
        tracks = crops.table["track"]
        faces = np.unique(tracks[crops.table["valid"]]) if len(tracks) and crops.table["valid"].any() else tracks[:1]
        if generator is None or (self.showing.actors == "main" and self.showing.repair == "none"):
            return np.flatnonzero(tracks == faces[0]), record.label
        swapped = self._swapped(record, faces)
        if self.showing.repair == "drop" and swapped.any():
            faces, swapped = faces[swapped], swapped[swapped]
        chosen = int(generator.integers(len(faces))) if self.showing.actors == "any" else 0
        untouched = self.showing.repair == "relabel" and not swapped[chosen]
        return np.flatnonzero(tracks == faces[chosen]), 0 if untouched else record.label

    def _swapped(self, record: Record, faces: np.ndarray) -> np.ndarray:
        """Return, per face, whether its mask shows a change; without a mask the label is believed."""
        if record.label == 0 or "masks" not in record.assets or self.showing.repair == "none":
            return np.ones(len(faces), bool)
        with CropReader(self.folder / record.assets["masks"]) as masks:
            changed = set(masks.facts["swapped"])
        return np.array([int(face) in changed for face in faces])

    def _draws(self, views: int, generator: np.random.Generator | None) -> np.ndarray:
        """One draw for all clips of a video, since its frames belong together; one draw per view for images."""
        if generator is None:
            return np.zeros(views, np.int64)
        if self.input.kind == "clip":
            return np.full(views, generator.integers(2**31))
        return np.array([generator.integers(2**31) for _ in range(views)])

    def _augmented(self, stack: np.ndarray, points: np.ndarray | None, draw: np.ndarray) -> np.ndarray:
        """Augment what shares a draw together: the frames of a video, or single images."""
        count = len(stack) if self.input.kind == "clip" else 1
        parts = [slice(start, start + count) for start in range(0, len(stack), count)]
        drawn = [
            self._one_draw(stack[part], None if points is None else points[part], int(seed))
            for part, seed in zip(parts, draw, strict=False)
        ]
        return np.concatenate(drawn)

    def _one_draw(self, stack: np.ndarray, points: np.ndarray | None, seed: int) -> np.ndarray:
        assert self.augment is not None
        if points is not None:
            before = self.augment.before(stack, seed, points, self.input.size)
            stack = np.stack([fit(image, self.input.size) for image in before])
        return self.augment(stack, seed)
