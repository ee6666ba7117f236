"""Whole images as views: no faces are looked for, a picture is resized to what the network wants."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from dfd.core.errors import DfdError
from dfd.core.records import InputSpec, Record
from dfd.data.crops import COLUMNS, Crops
from dfd.data.kinds import is_image
from dfd.data.sampling import spread
from dfd.data.video import probe, read_frames, read_picture_file
from dfd.data.views import Views, Visit, fit

if TYPE_CHECKING:
    from dfd.data.augment import Augment

# what Pillow raises on files that are damaged, or larger than a picture should be
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


class ImageViews(Dataset[Views]):
    """One view per record: the picture itself, RGB whatever its mode, squared to the network's size."""

    def __init__(
        self,
        records: Sequence[Record],
        input: InputSpec,
        augment: "Augment | None" = None,
        targets: Sequence[int] | None = None,
    ) -> None:
        if input.kind != "image":
            raise DfdError(f"this dataset holds single images, the network asks for {input.kind!r}")
        self.records = tuple(records)
        self.input = input
        self.augment = augment
        self.targets = targets or [record.label for record in records]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, visit: Visit | int) -> Views:
        number, seed = visit if isinstance(visit, tuple) else (visit, None)
        pixels = fit(read_rgb(Path(self.records[number].path)), self.input.size)[None]
        draw = np.zeros(1, np.int64) if seed is None else np.random.default_rng(seed).integers(2**31, size=1)
        if self.augment is not None and seed is not None:
            pixels = self.augment(pixels, int(draw[0]))
        pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        return Views(pixels=pixels, t=np.zeros(1), draw=draw, label=self.targets[number], video=number)


def read_rgb(path: Path) -> np.ndarray:
    """Read a picture of any mode (grey, palette, transparent) as RGB uint8 (H, W, 3)."""
    try:
        with Image.open(io.BytesIO(read_picture_file(path))) as image:
            return np.asarray(image.convert("RGB"))
    except UNREADABLE as error:
        raise DfdError(f"{path} is missing or is not an image that can be read ({error})") from error


def whole_frames(path: Path, count: int) -> Crops:
    """Read a picture, or `count` frames spread over a video, as if each were one face crop."""
    if is_image(path):
        frames = [(0, 0.0, read_rgb(path))]
    else:
        frames = list(read_frames(path, [int(place) for place in spread(probe(path).frames, count)]))
    table: dict[str, np.ndarray] = {name: np.zeros(len(frames)) for name in COLUMNS}
    table |= {"frame": np.arange(len(frames)), "t": np.array([t for _, t, _ in frames])}
    return Crops(table | {"valid": np.ones(len(frames), bool)}, {row: image for row, (*_, image) in enumerate(frames)})
