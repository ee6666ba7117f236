"""dfd-doctor: say whether this machine, and the runs that are named, are ready."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from dfd.core.errors import DfdError

HELP = "dfd-doctor [run=outputs/demo ...]     look at Python, packages, device, decoder, disk, weights and cards\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 1 where something is wrong."""
    words = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help", "help"} & set(words):
        print(HELP)  # noqa: T201
        return 0
    logging.basicConfig(level=logging.ERROR)
    try:
        runs = [run for word in words for run in _runs(word)]
    except DfdError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return _show(runs)


def _runs(word: str) -> list[str]:
    if "=" in word and not word.startswith("run="):
        raise DfdError(f"{word}: the only option is run=")
    return word.removeprefix("run=").strip("[]").split(",")


def _show(runs: list[str]) -> int:
    from rich.console import Console
    from rich.text import Text

    from dfd.serving.doctor import examine

    console, worst = Console(), "ok"
    styles = {"ok": "green", "warning": "yellow", "error": "bold red"}
    for found in examine(runs, Path()):
        console.print(
            Text(f"{found.state:8}", styles[found.state]), Text(f"{found.what}: {found.text}"), soft_wrap=True
        )
        worst = "error" if "error" in (found.state, worst) else worst
    return 1 if worst == "error" else 0


if __name__ == "__main__":
    sys.exit(main())
