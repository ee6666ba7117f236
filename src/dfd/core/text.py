"""Names and messages that came from a stranger, made harmless for a terminal and for a spreadsheet."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for one at the start of a cell
HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # control, direction, bytes that were no text, line breaks


def printable(text: str) -> str:
    """Return a text on one line, in which what a terminal would obey or could not show is spelled out."""
    return "".join(_spelled(each) if unicodedata.category(each) in HIDDEN else each for each in text)


def csv_cell(text: str) -> str:
    """Return a text as a cell that no spreadsheet takes for a formula."""
    safe = printable(text)
    return f"'{safe}" if safe.startswith(FORMULA) else safe


def without_path(text: str, path: Path) -> str:
    """Return a message about a file that does not name it, for where its name stands already."""
    return text.replace(f"{path} is ", "it is ").replace(f"{path} ", "it ").replace(str(path), "the file")


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return paths as a table shows them: without the folder that all of them share, without codes for a terminal."""
    folders = {path.parent for path in paths}
    if len(folders) < 1 or any(path.is_absolute() != paths[0].is_absolute() for path in paths):
        return [printable(str(path)) for path in paths]
    shared = os.path.commonpath(folders)
    return [printable(os.path.relpath(path, shared)) for path in paths]


def _spelled(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def readable_time(seconds: float) -> str:
    """Return seconds in the unit that suits them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
