"""Measure what costs time against its floor, in one run: python scripts/bench.py [bench ...] [--json FILE]."""

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from benches.backends import backends
from benches.compute import infer, tall, train
from benches.evaluation import evaluate
from benches.features import features
from benches.figure import Figure, machine
from benches.growth import index, loading
from benches.loader import augment, loader
from benches.localisation import localisation
from benches.memory import memory
from benches.modern import modern
from benches.predict import predict
from benches.preprocess import preprocess
from benches.serve import serve
from benches.storage import storage
from benches.talk import talk
from rich.console import Console
from rich.live import Live
from rich.table import Table

BENCHES: dict[str, Callable[[Path], Iterable[Figure]]] = {
    bench.__name__: bench
    for bench in (
        preprocess,
        predict,
        loader,
        augment,
        loading,
        train,
        infer,
        evaluate,
        storage,
        memory,
        index,
        tall,
        features,
        localisation,
        serve,
        talk,
        modern,
        backends,
    )
}


def main() -> None:
    """Run the chosen benches and print one table, row by row."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="\n".join(f"{name:12}{bench.__doc__}" for name, bench in BENCHES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "benches", nargs="*", choices=[*BENCHES, "all", []], metavar="bench", help="which (default: all)"
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    chosen = [name for name in BENCHES if name in options.benches or {"all", *options.benches} == {"all"}]
    about, figures = machine(), []
    table = Table(title=", ".join(f"{key} {value}" for key, value in about.items()))
    for name in ("bench", "what", "ours", "floor", "ratio", "aim met", "floor is"):
        table.add_column(name, justify="right" if name in ("ours", "floor", "ratio") else "left")
    console = Console(width=None if Console().is_terminal else 160)
    with Live(table, console=console, vertical_overflow="visible", auto_refresh=False) as live:
        for name in chosen:
            with tempfile.TemporaryDirectory() as folder:
                for figure in BENCHES[name](Path(folder)):
                    table.add_row(name, *row(figure))
                    figures.append({"bench": name, **figure._asdict(), "ratio": figure.ratio})
                    live.refresh()
    if options.json:
        plain = [{key: None if value != value else value for key, value in figure.items()} for figure in figures]
        options.json.write_text(json.dumps({"machine": about, "figures": plain}, indent=2))


def row(figure: Figure) -> tuple[str, ...]:
    """Return a figure as the table shows it."""
    if math.isnan(figure.ours):
        return figure.name, "-", "-", "-", "", figure.against
    floor, ratio = ("-", "-") if math.isnan(figure.floor) else (f"{figure.floor:,.3g}", f"{figure.ratio:.3g} x")
    return figure.name, f"{figure.ours:,.3g} {figure.unit}", floor, ratio, figure.met, figure.against


if __name__ == "__main__":
    main()
