"""What a dataset costs to prepare and to train on: videos, bytes, core-hours, GPU-hours; from rates that you measure.

    python scripts/sizing.py                                    the table of docs/cluster.md
    python scripts/sizing.py --original-rate 130 --utilisation 0.45 --epochs 60

The videos per minute are printed by `scripts/bench.py preprocess`; kB per crop are seen in your own crops; the share of
its data sheet's TFLOP/s that a GPU reaches in training is yours to measure: the default is an assumption.
"""

import argparse
from dataclasses import dataclass

FRAMES = 32  # kept of a video
VIEWS = 8  # of a video in an epoch: data.loader.visits
BACKWARD = 3  # training costs three forward passes
GMAC = {"tall tiny": 4.89, "tall base": 16.32, "efficientnet_b7": 15.1}  # per view, counted by torch


@dataclass(frozen=True)
class Dataset:
    """Counts as published; `frames` and `megapixels` are those of a typical file, which are rough."""

    name: str
    originals: int
    fakes: int
    paired: bool  # a fake takes the face boxes of its original
    frames: int
    megapixels: float
    train: int  # videos that an epoch sees


DATASETS = (
    Dataset("FaceForensics++ (c23)", 1_000, 4_000, True, 500, 0.92, 3_600),
    Dataset("Celeb-DF v2", 890, 5_639, False, 390, 0.46, 6_011),
    Dataset("DFDC", 21_654, 102_500, True, 300, 2.07, 119_154),
)
BENCH_FRAMES, BENCH_MEGAPIXELS = 300, 0.92  # of the video whose rates `scripts/bench.py preprocess` prints


def core_hours(data: Dataset, decoding: float, original: float, fake: float) -> float:
    """Return the hours of one core: decoding grows with frames and pixels, looking for faces does not.

    Rates are videos per minute of the bench's video: decoded only, an original, a fake with its original's boxes.
    """
    decode = 60 / decoding * data.frames / BENCH_FRAMES * data.megapixels / BENCH_MEGAPIXELS
    look, take = 60 / original - 60 / decoding, 60 / fake - 60 / decoding
    fakes = data.fakes * (decode + (take if data.paired else look))
    return (data.originals * (decode + look) + fakes) / 3600


def gigabytes(data: Dataset, crop_kb: float) -> float:
    """Return the size of all crops."""
    return (data.originals + data.fakes) * FRAMES * crop_kb / 1e6


def gpu_hours(data: Dataset, gmac: float, epochs: int, tflops: float, utilisation: float) -> float:
    """Return the hours of one GPU that uses a share of its TFLOP/s; a view is a forward and a backward pass."""
    operations = 2e9 * gmac * BACKWARD * data.train * VIEWS * epochs
    return operations / (1e12 * tflops * utilisation) / 3600


def arguments() -> argparse.Namespace:
    """Return the rates; the defaults say where they come from."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    rates = (
        ("--decoding-rate", 182.0, "videos/min of one core, decoded only (docs/preprocessing.md)"),
        ("--original-rate", 106.0, "videos/min of one core, an original (docs/preprocessing.md)"),
        ("--fake-rate", 163.0, "videos/min of one core, a fake with its original's boxes (docs/preprocessing.md)"),
        ("--crop-kb", 87.0, "kB of a 256 px WebP of a photographed face (matplotlib's Grace Hopper)"),
        ("--tflops", 312.0, "bf16 TFLOP/s of the GPU's data sheet; this is an A100's"),
        ("--utilisation", 0.3, "share of it that training reaches; assumed, until you measure yours"),
    )
    for name, value, meaning in rates:
        parser.add_argument(name, type=float, default=value, help=f"{meaning} (%(default)s)")
    parser.add_argument("--epochs", type=int, default=20, help="(%(default)s)")
    return parser.parse_args()


def main() -> None:
    """Print the table in Markdown."""
    given = arguments()
    models = list(GMAC)
    print("| dataset | videos | crops | faces | " + " | ".join(models) + " |")  # noqa: T201
    print("|---|" + "--:|" * (3 + len(models)))  # noqa: T201
    for data in DATASETS:
        hours = core_hours(data, given.decoding_rate, given.original_rate, given.fake_rate)
        trained = [gpu_hours(data, GMAC[m], given.epochs, given.tflops, given.utilisation) for m in models]
        cells = [
            f"{data.originals + data.fakes:,}",
            f"{gigabytes(data, given.crop_kb):,.0f} GB",
            f"{hours:.2g} core-hours",
        ]
        print(" | ".join([f"| {data.name}", *cells, *(f"{h:.2g} GPU-hours" for h in trained)]) + " |")  # noqa: T201


if __name__ == "__main__":
    main()
