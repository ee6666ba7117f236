"""Uploads and results in one place that every machine reaches: a folder, or an address of fsspec (s3://...)."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import fsspec

from dfd.core.errors import DfdError

log = logging.getLogger("dfd")

CHUNK = 2**20


class Storage:
    """Files by name, under one address; names are made by us and never by clients."""

    def __init__(self, url: str) -> None:
        try:
            self._files, root = fsspec.url_to_fs(url)
        except ImportError as error:
            raise DfdError(f"storage={url} needs a package: {error}") from error
        except ValueError as error:
            raise DfdError(f"storage={url}: {error}") from error
        self._root = PurePosixPath(root)
        self.local = "file" in self._files.protocol
        if self.local:
            Path(root).mkdir(parents=True, exist_ok=True)

    def check(self) -> None:
        """Raise where the storage cannot be reached."""
        self._files.invalidate_cache()
        self._files.exists(str(self._root))

    def put(self, file: Path, name: str) -> None:
        """Move a file of this machine into the storage; it is there whole or not at all."""
        target = self._path(name)
        if self.local:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            partial = Path(f"{target}.partial")
            shutil.move(file, partial)
            partial.replace(target)
        else:
            self._files.put_file(str(file), target)
            file.unlink()

    def write(self, name: str, data: bytes) -> None:
        """Write a small file."""
        target = self._path(name)
        if self.local:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            partial = Path(f"{target}.partial")
            partial.write_bytes(data)
            partial.replace(target)
        else:
            self._files.pipe_file(target, data)

    def fetch(self, name: str, folder: Path) -> Path:
        """Return a file on this machine that holds what is stored: itself, or a copy in a folder."""
        source = self._path(name)
        if self.local:
            if not Path(source).is_file():
                raise FileNotFoundError(source)
            return Path(source)
        target = folder / PurePosixPath(name).name
        self._files.invalidate_cache()
        self._files.get_file(source, str(target))
        return target

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield what is stored; raises FileNotFoundError before the first chunk."""
        self._files.invalidate_cache()
        with self._files.open(self._path(name), "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def erase(self, folder: str) -> None:
        """Remove a folder and all in it; what is not there is no fault."""
        self._files.invalidate_cache()
        path = self._path(folder)
        try:
            if self._files.exists(path):
                self._files.rm(path, recursive=True)
        except FileNotFoundError:
            log.debug("%s was erased already", path)

    def _path(self, name: str) -> str:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{name} leaves the storage")
        return str(self._root / path)
