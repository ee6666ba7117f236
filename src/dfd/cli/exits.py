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
EXIT_STATUSES = """Exit status: 0 all done; 2 refused, and the message says what to do; 3 done, but for what is counted;
130 interrupted: the same command goes on."""

Kinds = tuple[type[Exception], ...]


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
            except BaseException as error:
                status = left(error)
                if status is None:
                    raise
                return status

        return main

    return decorate


def left(error: BaseException, words: Callable[[Exception], str] = str, ours: Kinds = (DfdError,)) -> int | None:
    """Write in one line why a command ends, and return its exit status; None where it is no error of the user's.

    Args:
        error: what ended it.
        words: how errors are worded.
        ours: kinds of errors that say themselves what the user can mend.
    """
    if isinstance(error, KeyboardInterrupt):
        return leave(str(error) or "interrupted: the same command goes on", INTERRUPTED)
    if isinstance(error, ours):
        return leave(words(error), INCOMPLETE if isinstance(error, Incomplete) else REFUSED)
    on_disk = in_words(error) if isinstance(error, OSError) else ""
    return leave(on_disk) if on_disk else None


def leave(message: str, status: int = REFUSED) -> int:
    """Write why a command ends to the error stream; return its exit status."""
    word = "note" if status == INCOMPLETE else "error"
    sys.stderr.write(f"{word}: {printable(message)}\n")
    return status
