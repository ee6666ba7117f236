"""Licence-free stand-ins for datasets that cannot be had at once, in the official layouts: drawn heads and pictures."""

from pathlib import Path
from typing import Any

PICTURES, STRETCHES = ("cddb",), ("lavdf", "tvil")


def describe(dataset: str, **options: Any) -> dict[str, Any]:
    """Return what a sample is made from: two samples with the same facts are the same."""
    return dict(_drawer(dataset).describe(dataset, **options))


def build(dataset: str, folder: Path, **options: Any) -> Path:
    """Render a dataset's sample into a folder, once."""
    return _drawer(dataset).build(dataset, folder, **options)


def _drawer(dataset: str) -> Any:
    """Return the module that draws a dataset."""
    from dfd.data.sample import pictures, render, stretches

    return pictures if dataset in PICTURES else stretches if dataset in STRETCHES else render
