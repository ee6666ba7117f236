"""Licence-free stand-ins for datasets that cannot be had at once, in the official layouts: drawn heads and pictures."""

import importlib
from pathlib import Path
from typing import Any

# the module that draws a dataset; every other one is drawn by `render`
RENDERERS = {"cddb": "pictures", "fakeavceleb": "spoken", "lavdf": "stretches", "tvil": "stretches"}


def describe(dataset: str, **options: Any) -> dict[str, Any]:
    """Return what a sample is made from: two samples with the same facts are the same."""
    return dict(_renderer(dataset).describe(dataset, **options))


def build(dataset: str, folder: Path, **options: Any) -> Path:
    """Render a dataset's sample into a folder, once."""
    return _renderer(dataset).build(dataset, folder, **options)


def _renderer(dataset: str) -> Any:
    return importlib.import_module(f"dfd.data.sample.{RENDERERS.get(dataset, 'render')}")
