"""What blur, and restoring it, do to detectors: scripts/deblur_effect.py MANIFEST RESTORER RUN [RUN ...].

The faces of a test split are blurred by a disc of 0 to 5 pixels, as the network is shown them; each run, of faces or of
talking faces (their first view), judges them blurred, and restored. Prints the AUC over videos of both, as Markdown.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfd.core.manifest import Manifest
from dfd.core.records import TalkInput
from dfd.data.datamodule import FaceDataModule, RecordDataModule
from dfd.data.degrade import blurred
from dfd.data.talk_datamodule import TalkDataModule
from dfd.inference.restoring import Restoring
from dfd.metrics.pooling import pool
from dfd.metrics.ranking import roc_auc
from dfd.models.base import PixelNetwork, TalkDetector
from dfd.models.checkpoint import load_network
from dfd.preprocess.stages import made_assets

Change = Callable[[np.ndarray], np.ndarray]  # pictures (N, H, W, 3) uint8


def effect(network: PixelNetwork, data: RecordDataModule, change: Change) -> float:
    """Return the AUC over the videos of the test split, their pictures changed."""
    columns = list(scores(network, data, change))
    video, label, score = (np.concatenate(column) for column in zip(*columns, strict=True))
    return roc_auc(*pool(video, label, score))


@torch.no_grad()
def scores(
    network: PixelNetwork, data: RecordDataModule, change: Change
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield video, label and score of every view, batch by batch."""
    for batch in data.eval_dataloader("test"):
        pixels = batch["pixels"]
        flat = pixels.reshape(-1, *pixels.shape[-3:]).permute(0, 2, 3, 1).numpy()
        changed = torch.from_numpy(np.ascontiguousarray(change(flat))).permute(0, 3, 1, 2).reshape(pixels.shape)
        score = judged(network, batch, network.pixels(changed))
        yield batch["video"].numpy(), batch["label"].numpy(), score.numpy()


def judged(network: Any, batch: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """Return the score of every view."""
    if isinstance(network, TalkDetector):
        return network.score(network(pixels, batch["sound"], batch["length"]))
    return network.score(network(pixels))


def shown(manifest: Manifest, network: Any, methods: Sequence[str]) -> RecordDataModule:
    """Return the data of a manifest as a network is shown it."""
    if isinstance(network.input, TalkInput):
        heard = tuple(replace(r, assets={**r.assets, **made_assets(r, manifest.folder)}) for r in manifest.records)
        manifest = Manifest(tuple(record for record in heard if "audio" in record.assets), manifest.folder)
        return TalkDataModule(manifest, network.input, workers=0, eval_methods=methods or None, first_only=True)
    if methods:
        kept = tuple(record for record in manifest.records if record.method in methods)
        manifest = Manifest(kept, manifest.folder)
    return FaceDataModule(manifest, network.input, eval_frames=4, workers=0)


def row(network: PixelNetwork, data: RecordDataModule, restoring: Restoring, level: int) -> tuple[float, float]:
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
    parser.add_argument("--methods", default="", help="such as real,FaceSwap: only videos of these")
    parser.add_argument("--levels", default="0-5", help="of blur, such as 3-5 (default: 0-5)")
    options = parser.parse_args()
    methods = [name for name in options.methods.split(",") if name]
    first, last = (int(part) for part in (options.levels + "-" + options.levels).split("-")[:2])
    restoring, manifest = Restoring.load(options.restorer), Manifest.read(options.manifest)
    sys.stdout.write("| run | blur (pixels) | AUC, blurred | AUC, restored | change |\n|---|---|---|---|---|\n")
    for run in options.runs:
        network = load_network(Path(run)).network
        data = shown(manifest, network, methods)
        for level in range(first, last + 1):
            plain, restored = row(network, data, restoring, level)
            sys.stdout.write(
                f"| {Path(run).name} | {level} | {plain:.3f} | {restored:.3f} | {restored - plain:+.3f} |\n"
            )
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
