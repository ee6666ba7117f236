"""dfd-doctor: say whether this machine, and the runs that are named, are ready."""

import logging
import sys
from pathlib import Path

from dfd.cli.exits import INCOMPLETE, plain_command
from dfd.core.errors import DfdError

HELP = "dfd-doctor [run=outputs/demo ...]     look at Python, packages, device, decoder, disk, weights and cards\n"


@plain_command(HELP)
def main(words: list[str]) -> int:
    """Run the command; return INCOMPLETE where something is wrong."""
    logging.basicConfig(level=logging.ERROR)
    return _show([run for word in words for run in _runs(word)])


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
    return INCOMPLETE if worst == "error" else 0


if __name__ == "__main__":
    sys.exit(main())
