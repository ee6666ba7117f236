import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in two processes on two cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from pathlib import Path

import numpy as np
import pytest

from dfd.core.manifest import Manifest
from dfd.core.records import Record
from dfd.data.crops import COLUMNS, Crops, write_crops

SPLITS = {"train": 8, "val": 4, "test": 4}


def noise_crops(seed: int, label: int, frames: int = 8, side: int = 48) -> Crops:
    """Crops of noise; a fake carries a bright square."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 160, (frames, side, side, 3), np.uint8)
    if label:
        images[:, 10:30, 10:30] += 90
    table = {name: np.zeros(frames) for name in COLUMNS}
    table |= {"frame": np.arange(frames), "t": np.arange(frames) / 25, "valid": np.ones(frames, bool)}
    return Crops(table | {"confidence": np.full(frames, 0.99)}, dict(enumerate(images)))


@pytest.fixture(scope="session")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A dataset of crops without videos: one real and one fake video per group."""
    folder: Path = tmp_path_factory.mktemp("noise")
    records = []
    for split, groups in SPLITS.items():
        for group in range(groups):
            for label, method in ((0, "real"), (1, "square")):
                name = f"{split}{group}_{method}"
                write_crops(folder / f"{name}.zip", noise_crops(len(records), label))
                assets = {"crops": f"{name}.zip"}
                records.append(
                    Record(name, "noise", split, label, f"{name}.mp4", f"{split}{group}", method, assets=assets)
                )
    manifest = Manifest(tuple(records), folder)
    manifest.write(folder / "manifest.parquet")
    return manifest
