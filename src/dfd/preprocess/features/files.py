"""Features that others have extracted: found, checked against their videos, and described by a store."""

from pathlib import Path
from typing import Any

from dfd.core.errors import DfdError
from dfd.core.records import Record
from dfd.data.features import SUFFIXES, FeatureFacts, Modality, array_shape

TOLERANCE, SHARE = 0.5, 0.05  # seconds, or the share of a video, by which its features may be shorter or longer


class FeatureFiles:
    """One file per video, found by a pattern.

    Args:
        name: of the stream.
        folder: where the files lie.
        rate: rows per second; no file says it, and a wrong one shifts every label.
        pattern: of a file below the folder, with `{id}`, `{split}` (train, val, test) and `{stem}` of a record.
        splits: what the splits are called there, such as {val: dev}.
        start: seconds of the first row; null: the middle of the first step.
        key: of the array in a file that holds several.
        modality: video or audio.
        transposed: whether files hold (C, T).
        tolerance: seconds by which features may be shorter or longer than their video.
    """

    def __init__(
        self,
        name: str,
        folder: str,
        rate: float,
        pattern: str = "{id}.npy",
        splits: dict[str, str] | None = None,
        start: float | None = None,
        key: str | None = None,
        modality: Modality = "video",
        transposed: bool = False,
        tolerance: float = TOLERANCE,
    ) -> None:
        self.folder, self.pattern, self.splits = Path(folder).expanduser().absolute(), pattern, splits or {}
        self.key, self.transposed, self._tolerance = key, transposed, tolerance
        if rate <= 0:
            raise DfdError(f"features of {name}: rate={rate}, it must be rows per second")
        if not self.folder.is_dir():
            raise DfdError(f"features of {name}: no folder {self.folder}")
        begin = 0.5 / rate if start is None else start
        self.streams = (FeatureFacts(name, float(rate), self._dimension(), begin, modality),)
        self.identity: dict[str, Any] = {"extractor": "files", "folder": str(self.folder), "pattern": pattern}
        self.identity |= {"rate": rate, "start": begin, "key": key, "transposed": transposed, "splits": self.splits}

    def file(self, record: Record) -> Path:
        """Return where a record's file should be."""
        split = self.splits.get(record.split, record.split)
        return self.folder / self.pattern.format(id=record.id, split=split, stem=Path(record.path).stem)

    def examine(self, record: Record) -> dict[str, Any]:
        """Return what a table says of a record's file; one that is not there or does not fit its video is an error."""
        (facts,), path = self.streams, self.file(record)
        shape = array_shape(path, self.key)
        shape = shape[::-1] if self.transposed else shape
        if len(shape) != 2 or shape[1] != facts.dimension:
            raise DfdError(f"{path} holds an array {shape}, not (T, {facts.dimension}): is it of another extractor?")
        lasts = facts.seconds(shape[0])
        if record.frames and record.fps:
            wanted = record.frames / record.fps
            if abs(lasts - wanted) > max(self._tolerance, SHARE * wanted):
                raise DfdError(
                    f"{path}: {shape[0]} rows at {facts.rate:g} Hz last {lasts:.2f} s, but {record.id} lasts "
                    f"{wanted:.2f} s: is rate={facts.rate:g} right?"
                )
        return {"seconds": lasts, f"rows.{facts.name}": shape[0], f"file.{facts.name}": str(path)}

    def _dimension(self) -> int:
        first = next((path for path in sorted(self.folder.rglob("*")) if path.suffix in SUFFIXES), None)
        if first is None:
            raise DfdError(f"{self.folder} holds no features: files of {', '.join(SUFFIXES)} are read")
        shape = array_shape(first, self.key)
        if len(shape) != 2:
            raise DfdError(f"{first} holds an array {shape}: features are (T, C)")
        return int(shape[0] if self.transposed else shape[1])
