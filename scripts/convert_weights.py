"""Turn weights of other code into checkpoints that `run=` takes.

python scripts/convert_weights.py tall|dfdc|deblur|localisation FILE
"""

import argparse
import csv
import sys
from dataclasses import asdict
from pathlib import Path

from dfd.core.build import build
from dfd.core.errors import DfdError


def tall(arguments: argparse.Namespace) -> Path:
    """Convert a checkpoint of TALL4Deepfake or DeepfakeBench."""
    from dfd.models.checkpoint import save_network
    from dfd.models.tall_weights import load_foreign, read_foreign
    from dfd.preprocess.crop import CropOptions

    foreign = read_foreign(arguments.file, arguments.ema)
    tree = {"_target_": "dfd.models.tall.Tall", **foreign.arguments}
    network = build(tree)
    load_foreign(network, foreign)
    path = target(arguments, arguments.file.with_suffix(".ckpt"))
    save_network(path, network, tree, model="tall", data="unknown", crops=asdict(CropOptions()))
    return path


def dfdc(arguments: argparse.Namespace) -> Path:
    """Convert a checkpoint of the DFDC winner; faces are cut as his code does."""
    from dfd.models.checkpoint import save_network
    from dfd.models.dfdc_weights import load_winner, read_winner
    from dfd.preprocess.crop import CropOptions

    winner = read_winner(arguments.file)
    tree = {"_target_": "dfd.models.efficientnet.EfficientNet", **winner.arguments}
    network = build(tree)
    load_winner(network, winner)
    path = target(arguments, arguments.file.with_name(f"{arguments.file.name}.ckpt"))
    crops = CropOptions(groups=32, length=1, detections=32, size=512, margin=0.66, min_confidence=0.8)
    save_network(path, network, tree, model="efficientnet_b7", data="dfdc", crops=asdict(crops))
    return path


def localisation(arguments: argparse.Namespace) -> Path:
    """Convert a checkpoint of UMMAFormer, ActionFormer, TriDet or AuViRe."""
    from dfd.models.checkpoint import save_network
    from dfd.models.localisation.weights import load_official, read_official

    streams = [text.split(":") for text in arguments.streams or []]
    named = [[name, int(width), float(rate)] for name, width, rate in streams] or None
    official = read_official(arguments.file, named, arguments.length, not arguments.current)
    network = build(official.tree)
    load_official(network, official)
    path = target(arguments, arguments.file.with_name(f"{arguments.file.name}.ckpt"))
    save_network(path, network, official.tree, model=official.name.split(":")[0], data="unknown")
    return path


def deblur(arguments: argparse.Namespace) -> Path:
    """Convert a checkpoint of the published deblurring U-Nets."""
    from dfd.models.unet_weights import import_weights

    path = target(arguments, arguments.file.with_suffix(".ckpt"))
    import_weights(arguments.file, path)
    return path


def target(arguments: argparse.Namespace, beside: Path) -> Path:
    """Return where to write, which is never the original."""
    path = arguments.output or beside
    if path.resolve() == arguments.file.resolve():
        raise DfdError(f"{path} would be written over itself: name another file as the second argument")
    return path


def read_scores(path: Path) -> dict[str, float]:
    """Return the scores of a submission.csv by video."""
    if not path.is_file():
        raise DfdError(f"no file at {path}: give a submission.csv")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or ["none"]
        if not {"filename", "label"} <= set(columns):
            raise DfdError(f"{path} has the columns {', '.join(columns)}: it needs filename and label")
        try:
            return {Path(row["filename"]).stem: float(row["label"]) for row in reader}
        except (TypeError, ValueError) as error:
            raise DfdError(f"{path} is no table of filename and score, line {reader.line_num}: {error}") from None


def check(arguments: argparse.Namespace) -> int:
    """Compare a submission.csv over Kaggle's first ten test videos with the published scores of the ensemble."""
    from dfd.models.dfdc_weights import PUBLISHED, off_published

    off = off_published(read_scores(arguments.submission), arguments.tolerance)
    for name, (ours, told) in off.items():
        sys.stderr.write(f"{name}: {ours:.4f}, published {told:.4f}\n")
    sys.stdout.write(f"{len(PUBLISHED) - len(off)} of {len(PUBLISHED)} videos within {arguments.tolerance:g}\n")
    return 1 if off else 0


def main() -> int:
    """Parse the command line and convert."""
    parser = argparse.ArgumentParser(description=__doc__)
    models = parser.add_subparsers(dest="model", required=True)
    one = models.add_parser("tall", help="an official checkpoint container, or DeepfakeBench's bare state dict")
    one.add_argument("file", type=Path)
    one.add_argument("output", type=Path, nargs="?", help="where to write; default: beside FILE, as .ckpt")
    one.add_argument("--ema", action="store_true", help="take the averaged weights that the container holds")
    one.set_defaults(convert=tall)
    one = models.add_parser("dfdc", help="a checkpoint of the DFDC winner")
    one.add_argument("file", type=Path)
    one.add_argument("output", type=Path, nargs="?", help="where to write; default: beside FILE, as .ckpt")
    one.set_defaults(convert=dfdc)
    one = models.add_parser("localisation", help="a checkpoint of UMMAFormer, ActionFormer, TriDet or AuViRe")
    one.add_argument("file", type=Path)
    one.add_argument("output", type=Path, nargs="?", help="where to write; default: beside FILE, as .ckpt")
    one.add_argument("--streams", nargs="+", help="features as name:width:rate, in the order of training")
    one.add_argument("--length", type=int, help="steps of the grid (default: the authors')")
    one.add_argument("--current", action="store_true", help="take the weights themselves, not their moving average")
    one.set_defaults(convert=localisation)
    one = models.add_parser("deblur", help="a checkpoint of the published deblurring U-Nets, large or light")
    one.add_argument("file", type=Path)
    one.add_argument("output", type=Path, nargs="?", help="where to write; default: beside FILE, as .ckpt")
    one.set_defaults(convert=deblur)
    one = models.add_parser("dfdc-check", help="compare a submission.csv with his published scores of ten videos")
    one.add_argument("submission", type=Path)
    one.add_argument("--tolerance", type=float, default=0.05)
    one.set_defaults(check=check)
    arguments = parser.parse_args()
    try:
        if "check" in arguments:
            return arguments.check(arguments)
        path = arguments.convert(arguments)
    except DfdError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"wrote {path}: python eval.py run={path} data=...\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
