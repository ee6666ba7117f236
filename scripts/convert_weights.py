"""Turn weights of other code into checkpoints that `run=` takes: python scripts/convert_weights.py tall FILE."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from dfd.core.build import build
from dfd.core.errors import DfdError


def tall(arguments: argparse.Namespace) -> Path:
    """Convert a checkpoint of TALL4Deepfake or DeepfakeBench."""
    from dfd.models.tall_weights import load_foreign, read_foreign
    from dfd.preprocess.crop import CropOptions
    from dfd.training.checkpoint import save_network

    foreign = read_foreign(arguments.file, arguments.ema)
    tree = {"_target_": "dfd.models.tall.Tall", **foreign.arguments}
    network = build(tree)
    load_foreign(network, foreign)
    path = arguments.output or arguments.file.with_suffix(".ckpt")
    save_network(path, network, tree, model="tall", data="unknown", crops=asdict(CropOptions()))
    return path


def main() -> int:
    """Parse the command line and convert."""
    parser = argparse.ArgumentParser(description=__doc__)
    models = parser.add_subparsers(dest="model", required=True)
    one = models.add_parser("tall", help="an official checkpoint container, or DeepfakeBench's bare state dict")
    one.add_argument("file", type=Path)
    one.add_argument("output", type=Path, nargs="?", help="where to write; default: beside FILE, as .ckpt")
    one.add_argument("--ema", action="store_true", help="take the averaged weights that the container holds")
    one.set_defaults(convert=tall)
    arguments = parser.parse_args()
    try:
        path = arguments.convert(arguments)
    except DfdError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"wrote {path}: python eval.py run={path} data=...\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
