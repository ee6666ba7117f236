"""The commit that a run was made from."""

import subprocess
from pathlib import Path


def git(*arguments: str) -> str:
    """Return what git says of this checkout; nothing where there is none."""
    try:
        here = Path(__file__).parent
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""
