"""Where the shipped configurations lie."""

from pathlib import Path


def config_dir() -> Path:
    """Return the folder of configurations: inside an installed wheel, or at the root of a checkout."""
    package = Path(__file__).parents[1]
    shipped = package / "configs"
    return shipped if shipped.is_dir() else package.parents[1] / "configs"
