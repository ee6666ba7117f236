"""Unpacking of downloads that nobody here wrote: nothing leaves the folder, no links, multi-part archives as one."""

import bisect
import io
import os
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from dfd.core.errors import DfdError

PART = re.compile(r"(?P<name>.+\.(?:zip|tar|tar\.gz|tgz))\.(?P<number>\d{2,})$", re.IGNORECASE)
WHOLE = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
SPANNED = re.compile(r".+\.z\d\d$", re.IGNORECASE)
BLOCK = 1 << 20


class Member(NamedTuple):
    """A file in an archive: its name, its size, and how to open it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


class Joined(io.RawIOBase):
    """The parts of a file that was cut, read as one."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self.files = [part.open("rb") for part in parts]
        self.ends: list[int] = []
        for part in parts:
            self.ends.append((self.ends[-1] if self.ends else 0) + part.stat().st_size)
        self.at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.ends[-1]}[whence])
        return self.at

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        number = bisect.bisect_right(self.ends, self.at)
        if number == len(self.ends):
            return 0
        self.files[number].seek(self.at - (self.ends[number - 1] if number else 0))
        count = self.files[number].readinto(buffer)
        self.at += count
        return int(count)

    def close(self) -> None:
        for file in self.files:
            file.close()
        super().close()


def archives(folder: Path) -> list[list[Path]]:
    """Return the archives of a folder, each as the list of its parts in order."""
    found: dict[Path, list[tuple[int, Path]]] = {}
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        part = PART.fullmatch(path.name)
        if SPANNED.fullmatch(path.name):
            raise DfdError(f"{path.name} is a part of a spanned ZIP: join it first, `zip -s 0 X.zip --out whole.zip`")
        if part:
            found.setdefault(folder / part["name"], []).append((int(part["number"]), path))
        elif path.name.lower().endswith(WHOLE):
            found[path] = [(0, path)]
    for name, parts in found.items():
        numbers = sorted(number for number, _ in parts)
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))) or numbers[0] > 1:
            raise DfdError(f"parts of {name.name} are missing; there are {numbers}: finish the download")
    return [[path for _, path in sorted(parts)] for parts in found.values()]


def unpack(parts: Sequence[Path], folder: Path) -> int:
    """Unpack an archive into a folder and return how many files were written; whole ones from before are kept.

    An archive with a name that leaves the folder, or with a link or a device, is refused before anything is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = parts[0].name
    try:
        with io.BufferedReader(Joined(parts), BLOCK) as file:
            return sum(_write(member, folder, name) for member in _checked(list(_members(file, name)), folder, name))
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, NotImplementedError) as error:
        raise DfdError(f"{name} is damaged or locked ({error}): delete it and fetch it again") from error


def _members(file: "io.BufferedReader[Joined]", name: str) -> Iterator[Member]:
    if zipfile.is_zipfile(file):
        file.seek(0)
        archive = zipfile.ZipFile(file)
        for info in archive.infolist():
            kind = (info.external_attr >> 16) & 0o170000
            if kind not in (0, 0o100000, 0o040000):
                raise DfdError(f"{name} holds a link or device ({info.filename}): it was not unpacked")
            if not info.is_dir():
                yield Member(info.filename, info.file_size, lambda info=info: archive.open(info))  # type: ignore[misc]
        return
    file.seek(0)
    tar = tarfile.open(fileobj=file)  # noqa: SIM115 - members are read as long as the file is open
    for entry in tar:
        if not (entry.isfile() or entry.isdir()):
            raise DfdError(f"{name} holds a link or device ({entry.name}): it was not unpacked")
        if entry.isfile():
            yield Member(entry.name, entry.size, lambda entry=entry: tar.extractfile(entry))  # type: ignore[misc, arg-type]


def _checked(members: list[Member], folder: Path, name: str) -> list[Member]:
    for member in members:
        parts = PurePosixPath(member.name).parts
        if member.name.startswith("/") or ".." in parts or "\\" in member.name or ":" in member.name or not parts:
            raise DfdError(f"{name} holds a name that leaves its folder ({member.name!r}): it was not unpacked")
    needed, free = sum(member.size for member in members), shutil.disk_usage(folder).free
    if needed > free:
        raise DfdError(f"{name} unpacks to {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free")
    return members


def _write(member: Member, folder: Path, name: str) -> bool:
    target = folder / member.name
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise DfdError(f"{target.parent} is a link out of {folder}: {name} was not unpacked through it")
    if target.is_file() and not target.is_symlink() and target.stat().st_size == member.size:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with member.open() as source, unfinished.open("xb") as sink:
        shutil.copyfileobj(source, sink, BLOCK)
    os.replace(unfinished, target)
    return True
