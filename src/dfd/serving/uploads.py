"""Receive a file: chunk by chunk to disk, counted and hashed on the way, raw or as a form; memory stays flat."""

import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from dfd.data.kinds import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from dfd.serving.problems import Problem
from dfd.serving.processes import is_alive

LONGEST_NAME = 200
FIELD = 10_000  # bytes of a form's field that is not a file
UNFINISHED = "the connection ended before the file did"


class Received:
    """A file that arrives, in a folder that only we use.

    Args:
        folder: on this machine; what a killed server leaves there is removed at its next start.
        most: bytes.
    """

    def __init__(self, folder: Path, most: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{os.getpid()}-{secrets.token_hex(8)}"
        self._file = self.path.open("xb")
        self._hash, self._most = hashlib.sha256(), most
        self.size, self.name, self.fields = 0, "", dict[str, str]()

    @property
    def sha256(self) -> str:
        """Digest of what has arrived."""
        return self._hash.hexdigest()

    @property
    def suffix(self) -> str:
        """What the name ends with, where that is the suffix of a medium."""
        suffix = PurePosixPath(self.name).suffix.lower()
        return suffix if suffix in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES) else ""

    def write(self, data: bytes) -> None:
        """Take a chunk."""
        self.size += len(data)
        if self.size > self._most:
            raise Problem("too_large", f"at most {self._most} bytes are taken")
        self._hash.update(data)
        try:
            self._file.write(data)
        except OSError as error:
            raise Problem("disk_full", f"the file could not be kept ({error.strerror})") from error

    def close(self) -> None:
        """The file is whole."""
        self._file.close()

    def discard(self) -> None:
        """Remove the file, if it is still here."""
        self._file.close()
        self.path.unlink(missing_ok=True)


async def receive(request: Request, folder: Path, most: int) -> Received:
    """Receive the body of a request: a form with a field `file`, or else the file itself."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    received = Received(folder, most)
    try:
        if kind == b"multipart/form-data":
            boundary = options.get(b"boundary")
            if not boundary:
                raise Problem("bad_request", "a form needs a boundary")
            await _form(request.stream(), boundary, received)
        else:
            received.name = clean_name(unquote(request.headers.get("x-filename", "")))
            async for chunk in request.stream():
                await run_in_threadpool(received.write, chunk)
        received.close()
    except ClientDisconnect as gone:
        received.discard()
        raise Problem("bad_request", UNFINISHED) from gone
    except BaseException:
        received.discard()
        raise
    if received.size == 0:
        received.discard()
        raise Problem("bad_request", "no file came: send it as the body, or as the field `file` of a form")
    return received


async def _form(chunks: AsyncIterator[bytes], boundary: bytes, received: Received) -> None:
    form = _Form(received)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        async for chunk in chunks:
            await run_in_threadpool(parser.write, chunk)
        parser.finalize()
    except FormParserError as error:
        raise Problem("bad_request", f"the form is malformed ({error})") from error
    if not form.ended:
        raise Problem("bad_request", UNFINISHED)


class _Form:
    """The parts of a form: the first called `file` goes to disk, short fields are kept, the rest is refused."""

    def __init__(self, received: Received) -> None:
        self._received = received
        self._header = (b"", b"")
        self._options: dict[bytes, bytes] = {}
        self._field = bytearray()
        self.files, self.ended = 0, False

    def callbacks(self) -> Any:
        """Return what the parser calls."""
        names = ("part_begin", "part_data", "part_end", "header_field", "header_value", "header_end", "end")
        return {f"on_{name}": getattr(self, name) for name in names}

    @property
    def _in_file(self) -> bool:
        return b"filename" in self._options

    def part_begin(self) -> None:
        self._options, self._field = {}, bytearray()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0] + data[start:end], self._header[1])

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0], self._header[1] + data[start:end])

    def header_end(self) -> None:
        name, value = self._header
        self._header = (b"", b"")
        if name.lower() == b"content-disposition":
            _, self._options = parse_options_header(value)
            if self._in_file:
                self.files += 1
                self._received.name = clean_name(self._options[b"filename"].decode("utf-8", "replace"))

    def part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            if self.files > 1:
                raise Problem("bad_request", "one file a request: send several jobs")
            self._received.write(data[start:end])
            return
        self._field += data[start:end]
        if len(self._field) > FIELD:
            raise Problem("bad_request", "a field of the form is too long")

    def part_end(self) -> None:
        if not self._in_file:
            name = self._options.get(b"name", b"").decode("utf-8", "replace")
            self._received.fields[name[:40]] = self._field.decode("utf-8", "replace")
            if len(self._received.fields) > 20:
                raise Problem("bad_request", "the form has too many fields")

    def end(self) -> None:
        self.ended = True


def clean_name(name: str) -> str:
    """Return a name for people: no path, no control characters, not too long; never used to open anything."""
    last = name.replace("\\", "/").rpartition("/")[2]
    printable = "".join(letter for letter in last if letter.isprintable()).strip()
    return printable[-LONGEST_NAME:] or "unnamed"


def clean_spool(folder: Path) -> None:
    """Remove what servers of this machine left that were killed while they received."""
    for left in folder.glob("*-*"):
        process = left.name.partition("-")[0]
        if process.isdigit() and not is_alive(int(process)):
            left.unlink(missing_ok=True)
