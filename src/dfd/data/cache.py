"""Crops as they are shown, kept uncompressed on a fast disk: the next look at them neither decodes nor resizes."""

import os
from pathlib import Path

import numpy as np

from dfd.core.errors import DfdError
from dfd.data.align import VERSION

HEADER = 24  # bytes that say what the crops are of: when it was written, its size, and how crops are shown


class ShownCrops:
    """The shown crops of one container, in slots that are filled as they are asked for; a context manager.

    Any number of processes may read and fill at once: they write the same, and a slot's last byte says it is whole.
    """

    def __init__(self, path: Path, of: Path, side: int) -> None:
        self.path, self.side = path, side
        self._slot = side * side * 3 + 1
        stamp = np.array([*_newest_and_size(of), VERSION], np.int64).tobytes()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            if os.pread(self._file, HEADER, 0) != stamp:  # new, or of a container that was rebuilt
                os.truncate(self._file, 0)
                os.pwrite(self._file, stamp, 0)
        except OSError as error:
            raise self._explained(error) from error

    def read(self, row: int) -> np.ndarray | None:
        """Return the crop of a row, (S, S, 3), if it was shown before."""
        data = os.pread(self._file, self._slot, HEADER + row * self._slot)
        if len(data) < self._slot or not data[-1]:
            return None
        return np.frombuffer(data, np.uint8, self._slot - 1).reshape(self.side, self.side, 3)

    def write(self, row: int, image: np.ndarray) -> None:
        """Keep the crop of a row."""
        try:
            os.pwrite(self._file, image.tobytes() + b"\x01", HEADER + row * self._slot)
        except OSError as error:
            raise self._explained(error) from error

    def __enter__(self) -> "ShownCrops":
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._file)

    def _explained(self, error: OSError) -> DfdError:
        return DfdError(f"{self.path}: {error.strerror}: give data.loader.cache another folder, or go without")


def _newest_and_size(path: Path) -> tuple[int, int]:
    """Return when a file, or the newest in a folder, was written, and all bytes; a folder alone misses overwriting."""
    if path.is_dir():
        with os.scandir(path) as entries:
            files = [entry.stat() for entry in entries]
    else:
        files = [path.stat()]
    return max((file.st_mtime_ns for file in files), default=0), sum(file.st_size for file in files)
