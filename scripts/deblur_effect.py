"""What blur, and restoring it, do to detectors: scripts/deblur_effect.py MANIFEST RESTORER RUN [RUN ...].

The faces of a test split are blurred by a disc of 0 to 5 pixels; each run judges them blurred, and restored. Prints the
AUC over videos of both, as Markdown.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from dfd.core.manifest import Manifest
from dfd.data.datamodule import FaceDataModule
from dfd.data.degrade import blurred
from dfd.inference.restoring import Restoring
from dfd.metrics.pooling import pool
from dfd.metrics.ranking import roc_auc
from dfd.models.base import Detector
from dfd.models.checkpoint import load_network

LEVELS = range(6)
Change = Callable[[np.ndarray], np.ndarray]  # pictures (N, H, W, 3) uint8


def effect(network: Detector, data: FaceDataModule, change: Change) -> float:
    """Return the AUC over the videos of the test split, their pictures changed."""
    columns = list(scores(network, data, change))
    video, label, score = (np.concatenate(column) for column in zip(*columns, strict=True))
    return roc_auc(*pool(video, label, score))


@torch.no_grad()
def scores(
    network: Detector, data: FaceDataModule, change: Change
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield video, label and score of every view, batch by batch."""
    for batch in data.eval_dataloader("test"):
        pixels = batch["pixels"]
        flat = pixels.reshape(-1, *pixels.shape[-3:]).permute(0, 2, 3, 1).numpy()
        changed = torch.from_numpy(np.ascontiguousarray(change(flat))).permute(0, 3, 1, 2).reshape(pixels.shape)
        output = network(network.pixels(changed))
        yield batch["video"].numpy(), batch["label"].numpy(), network.score(output).numpy()


def row(network: Detector, data: FaceDataModule, restoring: Restoring, level: int) -> tuple[float, float]:
    """Return the AUC of blurred and of restored pictures."""

    def soft(pictures: np.ndarray) -> np.ndarray:
        return np.stack([blurred(picture, level) for picture in pictures])

    return effect(network, data, soft), effect(network, data, lambda pictures: restoring(soft(pictures)))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="manifest.parquet of a dataset whose faces were cut")
    parser.add_argument("restorer", help="a run of model=deblur")
    parser.add_argument("runs", nargs="+", help="runs of detectors")
    options = parser.parse_args()
    restoring, manifest = Restoring.load(options.restorer), Manifest.read(options.manifest)
    sys.stdout.write("| run | blur (pixels) | AUC, blurred | AUC, restored | change |\n|---|---|---|---|---|\n")
    for run in options.runs:
        network = load_network(Path(run)).network
        data = FaceDataModule(manifest, network.input, eval_frames=4, workers=0)
        for level in LEVELS:
            plain, restored = row(network, data, restoring, level)
            sys.stdout.write(
                f"| {Path(run).name} | {level} | {plain:.3f} | {restored:.3f} | {restored - plain:+.3f} |\n"
            )
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
