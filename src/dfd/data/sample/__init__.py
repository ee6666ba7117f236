"""Licence-free stand-ins for datasets that cannot be had at once, in the official layouts: drawn heads and pictures."""

from pathlib import Path
from typing import Any

PICTURES = ("cddb",)


def describe(dataset: str, **options: Any) -> dict[str, Any]:
    """Return what a sample is made from: two samples with the same facts are the same."""
    from dfd.data.sample import pictures, render

    return pictures.describe(dataset, **options) if dataset in PICTURES else dict(render.describe(dataset, **options))


def build(dataset: str, folder: Path, **options: Any) -> Path:
    """Render a dataset's sample into a folder, once."""
    from dfd.data.sample import pictures, render

    return (pictures if dataset in PICTURES else render).build(dataset, folder, **options)
