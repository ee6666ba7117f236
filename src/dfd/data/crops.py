"""One video's face crops in one plain ZIP: a table of frames and an image per face that was found.

`frames.csv` has a row per kept frame: number, seconds, whether a face is there (valid), its track, confidence, face box
and crop box in frame pixels, five landmarks, and whether the detector found the face on this very frame (detected) or
its values are interpolated. Further people have further rows, under another track. A frame without a face keeps its
row, so that consecutive frames stay consecutive. Images are stored, not deflated, under the frame's number: any frame
is one seek away and any tool opens the file.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from dfd.core.errors import DfdError

LANDMARKS = tuple(f"l{axis}{point}" for point in range(5) for axis in "xy")
FACE_BOX = ("x0", "y0", "x1", "y1")
CROP_BOX = ("cx0", "cy0", "cx1", "cy1")
OLDER = (
    "frame",
    "t",
    "valid",
    "track",
    "confidence",
    *FACE_BOX,
    *CROP_BOX,
    *LANDMARKS,
)  # of containers before `detected`
COLUMNS = (*OLDER, "detected")
TABLE = "frames.csv"
# what zipfile raises on archives that are damaged, or claim to be encrypted or compressed in unknown ways
DAMAGED = (zipfile.BadZipFile, OSError, ValueError, EOFError, RuntimeError, zlib.error)  # NotImplementedError, too

Table = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Crops:
    """The crops of one video in memory: a table of columns and, by row, the images of valid rows."""

    table: Table
    images: Mapping[int, np.ndarray]

    def stream(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (row, image) in the order of rows."""
        yield from sorted(self.images.items())


def write_crops(path: Path, crops: Crops, image_format: str = "png", jpeg_quality: int = 95) -> None:
    """Write the crops of one video; the container appears whole or not at all."""
    write_container(path, crops.table, crops.images.items(), image_format, jpeg_quality)


def write_container(
    path: Path,
    table: Table,
    images: Iterable[tuple[int, np.ndarray]],
    image_format: str = "png",
    jpeg_quality: int = 95,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write images (row, RGB uint8) as they come and then their table; `facts` of the video are the ZIP's comment.

    The same crops give the same bytes, and the container appears whole or not at all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive, _gone_on_error(part):
        for row, image in images:
            name = image_name(int(table["frame"][row]), int(table["track"][row]))
            entry = zipfile.ZipInfo(f"{name}.{image_format}")  # dated 1980, like every entry that is given no date
            archive.writestr(entry, encode(image, image_format, jpeg_quality))
        archive.writestr(zipfile.ZipInfo(TABLE), _to_csv(table))
        archive.comment = json.dumps(dict(facts or {})).encode()
    part.replace(path)


def image_name(frame: int, track: int) -> str:
    """Return the name of a row's image: its frame, and its track unless that is the main one."""
    return f"{frame:06d}_{track}" if track else f"{frame:06d}"


class CropReader:
    """Random access to a container; a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
            self.table = _from_csv(self._archive.read(TABLE))
        except (*DAMAGED, KeyError) as error:
            raise DfdError(f"{path} is damaged ({error}): delete it and run preprocess.py again") from error
        self._names = {name.rpartition(".")[0]: name for name in self._archive.namelist() if name != TABLE}

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of the video: frames, fps, width, height."""
        try:
            facts = json.loads(self._archive.comment or b"{}")
        except ValueError as error:
            raise DfdError(f"{self.path} is damaged ({error}): delete it and run preprocess.py again") from error
        return facts if isinstance(facts, dict) else {}

    def read(self, rows: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Return the images (RGB uint8) of these rows of the table."""
        frames, tracks = self.table["frame"], self.table["track"]
        names = [image_name(int(frames[row]), int(tracks[row])) for row in rows]
        lost = next((name for name in names if name not in self._names), None)
        if lost is not None:
            raise DfdError(f"{self.path} lacks the picture {lost}: delete the file and run preprocess.py again")
        return [self._decode(self._names[name]) for name in names]

    def __enter__(self) -> "CropReader":
        return self

    def __exit__(self, *error: Any) -> None:
        self._archive.close()

    def _decode(self, name: str) -> np.ndarray:
        try:
            data = self._archive.read(name)
        except DAMAGED as error:  # a wrong checksum is one of them
            raise DfdError(f"{self.path}: {name} is damaged ({error}): delete the file, preprocess again") from error
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if image is None:
            raise DfdError(f"{self.path}: {name} is damaged: delete the file and run preprocess.py again")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


@contextmanager
def _gone_on_error(part: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def encode(image: np.ndarray, image_format: str, quality: int) -> bytes:
    """Return an image as the bytes of a WebP (lossless), PNG or JPEG file."""
    if image_format == "webp":
        out = io.BytesIO()
        # the quickest effort: ten times as fast to write as OpenCV's, a tenth larger
        Image.fromarray(image).save(out, "WEBP", lossless=True, method=0, quality=0)
        return out.getvalue()
    jpeg = image_format == "jpg"
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if jpeg else [cv2.IMWRITE_PNG_COMPRESSION, 1]
    stored = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(f".{image_format}", stored, options)[1].tobytes()


def _to_csv(table: Table) -> str:
    out = io.StringIO()
    values = np.column_stack([np.asarray(table[name], np.float64) for name in COLUMNS])
    np.savetxt(out, values, fmt="%.10g", delimiter=",", header=",".join(COLUMNS), comments="")
    return out.getvalue()


def _from_csv(data: bytes) -> dict[str, np.ndarray]:
    header, _, body = data.decode().partition("\n")
    columns = tuple(header.strip().split(","))
    if columns not in (COLUMNS, OLDER):
        raise ValueError(f"unknown columns in {TABLE}")
    values = np.array(body.replace("\n", ",").rstrip(",").split(","), np.float64).reshape(-1, len(columns))
    table = {"detected": np.zeros(len(values)), **dict(zip(columns, values.T, strict=True))}
    kinds = {"frame": np.int64, "valid": bool, "track": np.int64, "detected": bool}
    return {name: column.astype(kinds.get(name, np.float64)) for name, column in table.items()}
