"""Where what preprocessing makes of a record lies."""

from pathlib import Path

from dfd.core.records import Record


def asset_path(folder: Path, kind: str, name: str, suffix: str) -> Path:
    """Return where something made of a record lies; an id may have folders, but none that lead out."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return folder / kind / Path(*parts[:-1]) / f"{parts[-1]}{suffix}"


def crop_path(folder: Path, record: Record) -> Path:
    """Return where a record's container of crops lies."""
    return asset_path(folder, "crops", record.id, ".zip")
