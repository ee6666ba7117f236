"""The process of one job of a sweep: python -m dfd.cli.sweeps.worker FILE, which a launcher packed."""

import pickle
import sys
from pathlib import Path

from dfd.cli.exits import INTERRUPTED


def main() -> None:
    """Do the job that a file holds; a DDP run starts this command again with more arguments for its other ranks."""
    try:
        pickle.loads(Path(sys.argv[1]).read_bytes())()
    except KeyboardInterrupt as stop:
        sys.stderr.write(f"{stop}\n")
        raise SystemExit(INTERRUPTED) from None


if __name__ == "__main__":
    main()
