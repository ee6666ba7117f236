"""Features over time: one array (T, C) per video and stream, beside tables that say what its rows are.

A store is a folder that one extractor has filled: `store.json` (the extractor, its hash, its streams), `videos.parquet`
(how long every video and every array is, and in which file) and `<stream>/<video>.npy`, read through a memory map. Time
is always seconds: row i of a stream describes the moment `start + i / rate` of its video. The files of a store may also
be those of others: npy, npz, HDF5 and safetensors are read; formats that could run code when read are refused.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd

from dfd.core.errors import DfdError
from dfd.core.records import Record

FORMAT = 1
HEADER, VIDEOS = "store.json", "videos.parquet"
SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".safetensors")
ASSET = "features/"  # of a record: this and the name of a stream lead to the folder of its store

Modality = Literal["video", "audio"]


@dataclass(frozen=True)
class FeatureFacts:
    """What the rows of a stream are: row i has `dimension` values about the moment `start + i / rate` in seconds."""

    name: str
    rate: float
    dimension: int
    start: float = 0.0
    modality: Modality = "video"

    def seconds(self, rows: int) -> float:
        """Return how long a recording of so many rows is."""
        return rows / self.rate


class Source(Protocol):
    """Where the rows of one stream come from."""

    @property
    def facts(self) -> FeatureFacts:
        """What the rows are."""

    def rows(self, record: Record) -> int:
        """Return how many rows a record has, without reading them; a record that is not there is an error."""

    def read(self, record: Record) -> np.ndarray:
        """Return a record's rows (T, C), memory-mapped where the format allows it."""


class FeatureStore:
    """The features of a dataset that one extractor has made, or that others have made and this store describes."""

    def __init__(self, folder: Path) -> None:
        if not (folder / HEADER).is_file():
            raise DfdError(f"no features in {folder}: extract them first, preprocess.py stages=[features]")
        header = json.loads((folder / HEADER).read_text())
        if header.get("format") != FORMAT:
            raise DfdError(f"{folder} holds features of format {header.get('format')}, this version reads {FORMAT}")
        self.folder, self.hash, self.extractor = folder, header["hash"], header["extractor"]
        self.key, self.transposed = header.get("key"), bool(header.get("transposed"))
        self.streams = {name: FeatureFacts(name, **facts) for name, facts in header["streams"].items()}

    @cached_property
    def videos(self) -> dict[str, dict[str, Any]]:
        """What the table says of every video: its length, and the rows and the file of every stream."""
        path = self.folder / VIDEOS
        if not path.is_file():
            raise DfdError(f"{self.folder} is not finished: run preprocess.py stages=[features] again, it goes on")
        return {row["video"]: row for row in pd.read_parquet(path).to_dict("records")}

    def source(self, name: str) -> "StoredStream":
        """Return one stream of the store."""
        if name not in self.streams:
            raise DfdError(f"{self.folder} has no stream {name!r}, it has {', '.join(self.streams)}")
        return StoredStream(self, self.streams[name])


@dataclass(frozen=True)
class StoredStream:
    """One stream of a store."""

    store: FeatureStore
    facts: FeatureFacts

    def path(self, record: Record) -> Path:
        """Return the file that holds a record's rows."""
        return self.store.folder / self._row(record)[f"file.{self.facts.name}"]

    def rows(self, record: Record) -> int:
        """Return how many rows a record has."""
        return int(self._row(record)[f"rows.{self.facts.name}"])

    def read(self, record: Record) -> np.ndarray:
        """Return a record's rows; a file that has changed since its store was finished is an error."""
        path = self.path(record)
        array = read_array(path, self.store.key)
        array = array.T if self.store.transposed else array
        wanted = (self.rows(record), self.facts.dimension)
        if array.shape != wanted:
            raise DfdError(
                f"{path} holds an array {array.shape}, its store says {wanted}: is it of another extractor? delete "
                f"{self.store.folder / VIDEOS} and run preprocess.py stages=[features] again"
            )
        return array

    def _row(self, record: Record) -> dict[str, Any]:
        if record.id not in self.store.videos:
            raise DfdError(f"{self.store.folder} has no features of {record.id}: run preprocess.py stages=[features]")
        return self.store.videos[record.id]


@dataclass(frozen=True)
class HeldStream:
    """One stream of one file, in memory."""

    facts: FeatureFacts
    array: np.ndarray

    def rows(self, record: Record) -> int:
        """Return how many rows there are."""
        return len(self.array)

    def read(self, record: Record) -> np.ndarray:
        """Return the rows."""
        return self.array


def open_streams(folder: Path, record: Record, names: Sequence[str]) -> dict[str, Source]:
    """Open the stores that the assets of a record name, relative to its manifest's folder; streams by name."""
    known = {key.removeprefix(ASSET): value for key, value in record.assets.items() if key.startswith(ASSET)}
    absent = [name for name in names if name not in known]
    if absent:
        raise DfdError(
            f"{record.dataset} has no features {', '.join(absent)}, it has {', '.join(known) or 'none'}: choose the "
            "extractors with data.features, and the network's streams among what they make"
        )
    stores = {place: FeatureStore(folder / place) for place in {known[name] for name in names}}
    return {name: stores[known[name]].source(name) for name in names}


def write_header(
    folder: Path, extractor: Mapping[str, Any], digest: str, streams: Sequence[FeatureFacts], **more: Any
) -> None:
    """Say in a store's folder what it holds; another extractor's features are refused."""
    path = folder / HEADER
    rows = {stream.name: {k: v for k, v in asdict(stream).items() if k != "name"} for stream in streams}
    header = {"format": FORMAT, "extractor": dict(extractor), "hash": digest, "streams": rows, **more}
    if path.is_file():
        if json.loads(path.read_text()) != json.loads(json.dumps(header)):
            raise DfdError(f"{folder} holds features of another extractor: give another folder, or delete it")
        return
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(header, indent=1))
    part.replace(path)


def array_path(folder: Path, stream: str, video: str) -> Path:
    """Return where the rows of a video lie in a store; an id may have folders, but none that lead out."""
    parts = [part for part in video.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return folder / stream / Path(*parts[:-1]) / f"{parts[-1]}.npy"


def write_array(path: Path, rows: np.ndarray) -> None:
    """Write rows; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, rows, allow_pickle=False)
    part.replace(path)


def read_array(path: Path, key: str | None = None) -> np.ndarray:
    """Return the array of a file, memory-mapped if it is a .npy."""
    _refuse(path)
    try:
        if path.suffix == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return arrays[_pick(arrays.files, key, path)]
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, "np") as arrays:
                return arrays.get_tensor(_pick(list(arrays.keys()), key, path))
        with _hdf5(path) as arrays:
            return arrays[_pick(_datasets(arrays), key, path)][()]
    except DfdError:
        raise
    except Exception as error:  # truncated, or objects in it: every library has types of its own
        raise DfdError(f"{path} cannot be read as features: {' '.join(str(error).split())[:200]}") from error


def array_shape(path: Path, key: str | None = None) -> tuple[int, ...]:
    """Return the shape of the array of a file, reading no more than the format demands."""
    if path.suffix in (".h5", ".hdf5"):
        _refuse(path)
        with _hdf5(path) as arrays:
            return tuple(arrays[_pick(_datasets(arrays), key, path)].shape)
    return tuple(read_array(path, key).shape)


def _refuse(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise DfdError(
            f"{path}: features are read from {', '.join(SUFFIXES)}; a pickle (.pkl, .pt, .pth) could run code when "
            "read: convert it where you trust it, numpy.save('features.npy', array)"
        )
    if not path.is_file():
        raise DfdError(f"no features at {path}")


def _pick(names: Sequence[str], key: str | None, path: Path) -> str:
    if key is None and len(names) == 1:
        return names[0]
    if key not in names:
        raise DfdError(f"{path} holds {', '.join(names) or 'nothing'}: say which with key=")
    return str(key)


def _hdf5(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise DfdError(f"{path}: HDF5 files need a package: pip install h5py") from error
    return h5py.File(path, "r")


def _datasets(group: Any) -> list[str]:
    names: list[str] = []
    group.visititems(lambda name, node: names.append(name) if hasattr(node, "shape") else None)
    return names
