"""The one exception a user is meant to read."""

import difflib
from collections.abc import Iterable


class DfdError(Exception):
    """Something the user can mend: the message says what, where and what to do next."""


class Incomplete(DfdError):
    """All that could be done was done and written, but not all that was asked for: a command then exits with 3."""


class Stopped(DfdError):
    """The user stopped the run; what was done is in its last checkpoint."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the closest known word, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
