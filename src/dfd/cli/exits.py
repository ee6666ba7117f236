"""Exit statuses, the same in every command, and errors in one line for commands without configuration groups."""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from dfd.core.disk import in_words
from dfd.core.errors import DfdError, Incomplete
from dfd.core.text import printable

# 0: all that was asked for was done; 1: a fault of ours, with its traceback
REFUSED, INCOMPLETE, INTERRUPTED = 2, 3, 130


class Command(Protocol):
    """A console command: of these words, or of those that were typed."""

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run it; return its exit status."""


def plain_command(help_text: str | Callable[[], str]) -> Callable[[Callable[[list[str]], int]], Command]:
    """Make a console command of a function of words that returns an exit status; `--help` prints its help."""

    def decorate(run: Callable[[list[str]], int]) -> Command:
        @functools.wraps(run)
        def main(argv: Sequence[str] | None = None) -> int:
            words = list(sys.argv[1:] if argv is None else argv)
            if {"-h", "--help", "help"} & set(words):
                print(help_text if isinstance(help_text, str) else help_text())  # noqa: T201
                return 0
            try:
                return run(words)
            except Incomplete as error:
                return leave(str(error), INCOMPLETE)
            except DfdError as error:
                return leave(str(error))
            except KeyboardInterrupt as stop:
                return leave(str(stop) or "interrupted: the same command goes on", INTERRUPTED)
            except OSError as error:
                if not in_words(error):
                    raise
                return leave(in_words(error))

        return main

    return decorate


def leave(message: str, status: int = REFUSED) -> int:
    """Write why a command ends to the error stream; return its exit status."""
    word = "note" if status == INCOMPLETE else "error"
    sys.stderr.write(f"{word}: {printable(message)}\n")
    return status
