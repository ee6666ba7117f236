"""Fewer values per row: principal components of every stream, fitted on training videos, in a store of their own."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from dfd.core.errors import DfdError
from dfd.core.records import Failure, Record
from dfd.data.features import (
    VIDEOS,
    FeatureFacts,
    FeatureStore,
    StoredStream,
    array_path,
    read_array,
    write_array,
    write_header,
)
from dfd.preprocess.pipeline import write_table
from dfd.preprocess.runner import Engine, Item, attempt, run

FITTED_ON = 1000  # training videos
BASIS = "basis.npz"


def reduce_store(folder: Path, records: Sequence[Record], keep: int, engine: Engine) -> Path:
    """Write a store whose streams keep the first components; return it, or the store itself if none has more."""
    store = FeatureStore(folder)
    large = [name for name, facts in store.streams.items() if facts.dimension > keep]
    if not large:
        return folder
    training = [record for record in records if record.split == "train"]
    if not training:
        raise DfdError("principal components are fitted on training videos, and there are none: pca=null")
    ids = hashlib.sha256(json.dumps(sorted(r.id for r in training)).encode()).hexdigest()[:8]
    target = folder.with_name(f"{folder.name}-pca{keep}-{ids}")
    streams = [replace(f, dimension=keep) if name in large else f for name, f in store.streams.items()]
    write_header(target, store.extractor, f"{store.hash}-pca{keep}-{ids}", streams, reduced_from=folder.name)
    for name in large:
        if not _basis_path(target, name).is_file():
            write_basis(_basis_path(target, name), *fit(store.source(name), training, keep))
    rows, items = [], []
    for record in records:
        row = dict(store.videos[record.id])
        for name in large:
            path = array_path(target, name, record.id)
            given = {"basis": str(_basis_path(target, name)), "limit": engine.limits}
            items.append(Item(f"{name}/{record.id}", store.source(name).path(record), path, given))
            row[f"file.{name}"] = path.relative_to(target).as_posix()
        for name in store.streams.keys() - set(large):
            row[f"file.{name}"] = str(store.source(name).path(record).absolute())
        rows.append(row)
    failures = run("reduce", items, reduced_of, engine, f"components of {folder.name}", chunk=16)
    if failures:
        raise DfdError(f"{len(failures)} arrays of {folder} cannot be reduced, the first because: {failures[0].detail}")
    write_table(rows, target / VIDEOS)
    return target


def fit(source: StoredStream, records: Sequence[Record], keep: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (C,) and the first components (C, keep) of a stream, by the covariance of its rows."""
    chosen = [records[i] for i in np.unique(np.linspace(0, len(records) - 1, min(FITTED_ON, len(records))).astype(int))]
    size = source.facts.dimension
    count, total, products = 0, np.zeros(size), np.zeros((size, size))
    for record in chosen:
        rows = np.asarray(source.read(record), np.float64)
        count, total, products = count + len(rows), total + rows.sum(0), products + rows.T @ rows
    if count <= keep:
        raise DfdError(f"{count} rows of {source.facts.name} are too few for {keep} components")
    mean = total / count
    _, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
    basis = vectors[:, ::-1][:, :keep]
    basis = basis * np.sign(basis[np.abs(basis).argmax(0), np.arange(keep)])  # the sign of a component is arbitrary
    return mean.astype(np.float32), basis.astype(np.float32)


def write_basis(path: Path, mean: np.ndarray, basis: np.ndarray) -> None:
    """Write a mean and components; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, mean=mean, basis=basis)
    part.replace(path)


def reduced_of(items: Sequence[Item]) -> list[Failure]:
    """Write the components of some arrays, in a worker."""
    results = (attempt("reduce", item, item.given["limit"], partial(_write, item)) for item in items)
    return [result for result in results if isinstance(result, Failure)]


def _write(item: Item) -> None:
    rows = read_array(item.source)
    write_array(item.target, project(rows, *_basis(item.given["basis"])).astype(rows.dtype))


def project(rows: np.ndarray, mean: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return the components of rows (T, C)."""
    return (rows.astype(np.float32) - mean) @ basis


@cache
def _basis(path: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["mean"], arrays["basis"]


def _basis_path(folder: Path, stream: str) -> Path:
    return folder / f"{stream}.{BASIS}"


def reduced_facts(facts: FeatureFacts, keep: int) -> FeatureFacts:
    """Return what the rows of a reduced stream are."""
    return replace(facts, dimension=min(keep, facts.dimension))
