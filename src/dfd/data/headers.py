"""Look at the first bytes of a media file, and refuse what must not reach a decoder.

A decoder believes a header: a file of 36 bytes that declares a picture of 16383 x 16383 costs gigabytes before its
first pixel is found missing. What is read here costs nothing: the kind of the file (a named pipe would wait for ever),
its format by its first bytes (a playlist would open other files), the size of a picture, the samples of a container.
"""

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dfd.core.errors import DfdError

MOST_PIXELS = 2**27  # of a picture: the largest cameras of telephones have 200 million, ordinary ones 50
LARGEST_PICTURE = 2**29  # bytes of the file, which is read whole
MOST_FRAMES = 200_000  # nearly two hours at 30 frames a second
MOST_SAMPLES = 5_000_000  # of any other track: a day of AAC
MOST_BOXES = 10_000  # of an MP4 that are looked at
MOST_MARKERS = 100_000  # of a JPEG

PLAYLISTS = {
    b"ffconcat": "an ffconcat script",
    b"#EXTM3U": "an HLS playlist",
    b"<MPD": "a DASH manifest",
    b"<?xml": "an XML document",
    b"<smil": "a SMIL playlist",
    b"v=0": "an SDP description",
    b"[playlist]": "a playlist",
}
KINDS = {
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISDIR: "a folder",
}


class BadVideo(DfdError):
    """A file that is refused, with the reason code that a table of failures carries."""

    def __init__(self, message: str, reason: str = "decode_error") -> None:
        super().__init__(message)
        self.reason = reason


class Picture(NamedTuple):
    """What the header of a picture says."""

    format: str
    width: int
    height: int


def unusual_file(path: Path) -> str | None:
    """Return what a path is where it is not a regular file ("a named pipe"); None for a file, and for nothing."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None
    if stat.S_ISREG(mode):
        return None
    return next((name for is_kind, name in KINDS.items() if is_kind(mode)), "a special file")


def check_file(path: Path) -> int:
    """Refuse what is not a regular file, or is empty; return its size in bytes."""
    kind = unusual_file(path)
    if kind is not None:
        raise BadVideo(f"{path} is {kind}, not a media file: it is not opened", "not_a_file")
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise BadVideo(f"no file at {path}", "missing_file") from error
    if size == 0:
        raise BadVideo(f"{path} is empty (0 bytes): download it again")
    return size


def check_picture(path: Path, data: bytes) -> Picture:
    """Refuse bytes that are not one of the known kinds of pictures, or that declare too many pixels."""
    found = picture_header(data)
    if found is None:
        raise BadVideo(
            f"{path} is not an image that can be read: neither JPEG, PNG, WebP, BMP, TIFF, AVIF nor HEIC",
            "not_an_image",
        )
    if found.width * found.height > MOST_PIXELS:
        raise BadVideo(
            f"{path} declares {found.width}x{found.height} pixels: over {MOST_PIXELS // 10**6} million are refused",
            "too_large",
        )
    return found


def picture_header(data: bytes) -> Picture | None:
    """Return format and size as the header of a picture declares them; None where it is not one that we know."""
    for signature, read in (
        (b"\x89PNG\r\n\x1a\n", _png),
        (b"\xff\xd8\xff", _jpeg),
        (b"RIFF", _webp),
        (b"BM", _bmp),
        (b"II*\0", _tiff),
        (b"MM\0*", _tiff),
    ):
        if data.startswith(signature):
            try:
                return read(data)
            except (struct.error, IndexError):
                return None
    return _heif(data) if data[4:8] == b"ftyp" else None


def _png(data: bytes) -> Picture | None:
    if data[12:16] != b"IHDR":
        return None
    return Picture("PNG", *struct.unpack_from(">II", data, 16))


def _jpeg(data: bytes) -> Picture | None:
    """Return the largest frame that is declared before the first scan: a hostile file declares a second."""
    found: Picture | None = None
    at = 2
    for _ in range(MOST_MARKERS):
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > len(data):
            break
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # no length follows
            at += 2
        elif marker in (0xD9, 0xDA):  # the end, and the first scan
            break
        else:
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and at + 9 <= len(data):
                height, width = struct.unpack_from(">HH", data, at + 5)
                if found is None or width * height > found.width * found.height:
                    found = Picture("JPEG", width, height)
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return found


def _webp(data: bytes) -> Picture | None:
    """Return the largest canvas that any chunk of the file declares."""
    if data[8:12] != b"WEBP":
        return None
    sizes = []
    for kind, start, length in _riff_chunks(data, 12):
        if kind == b"VP8X" and length >= 10:
            sizes.append((1 + int.from_bytes(data[start + 4 : start + 7], "little"),
                          1 + int.from_bytes(data[start + 7 : start + 10], "little")))  # fmt: skip
        elif kind == b"VP8L" and length >= 5:
            bits = int.from_bytes(data[start + 1 : start + 5], "little")
            sizes.append((1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)))
        elif kind == b"VP8 " and length >= 10:
            width, height = struct.unpack_from("<HH", data, start + 6)
            sizes.append((width & 0x3FFF, height & 0x3FFF))
    return Picture("WEBP", *max(sizes, key=lambda size: size[0] * size[1])) if sizes else None


def _riff_chunks(data: bytes, at: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        yield kind, at + 8, min(length, len(data) - at - 8)
        at += 8 + length + length % 2


def _bmp(data: bytes) -> Picture | None:
    header = struct.unpack_from("<I", data, 14)[0]
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    return Picture("BMP", abs(width), abs(height))


def check_container(path: Path) -> None:
    """Refuse playlists, and an MP4 whose tables declare more samples than anybody could have filmed."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
            script = next(
                (what for start, what in PLAYLISTS.items() if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(start)),
                None,
            )
            if script is not None:
                raise BadVideo(
                    f"{path} is {script}, which names other files, not a video: it is not opened", "not_a_video"
                )
            if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
                _check_boxes(path, file)
    except OSError as error:
        raise BadVideo(f"{path} cannot be read ({error.strerror or error})", "missing_file") from error


def _tiff(data: bytes) -> Picture | None:
    """Return the size that the first directory of a TIFF declares."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (entries,) = struct.unpack_from(f"{order}H", data, at)
    sides = {}
    for entry in range(entries):
        start = at + 2 + 12 * entry
        tag, kind = struct.unpack_from(f"{order}HH", data, start)
        if tag in (256, 257):  # width, height
            (sides[tag],) = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", data, start + 8)
    return Picture("TIFF", sides[256], sides[257]) if len(sides) == 2 else None


def _heif(data: bytes) -> Picture | None:
    """Return the largest picture that an AVIF or HEIC file declares (boxes `ispe`)."""
    sizes: list[tuple[int, int]] = []
    brand, at = data[8:12], data.find(b"ispe")
    while 0 <= at <= len(data) - 16 and len(sizes) < MOST_BOXES:
        sizes.append(struct.unpack_from(">II", data, at + 8))
        at = data.find(b"ispe", at + 4)
    known = brand in (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")
    kind = "AVIF" if brand in (b"avif", b"avis") or b"avif" in data[8:64] else "HEIC"
    return Picture(kind, *max(sizes, key=lambda size: size[0] * size[1])) if known and sizes else None


class _Box(NamedTuple):
    kind: bytes
    start: int  # of its content
    end: int


NESTED = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf")


def _check_boxes(path: Path, file: BinaryIO) -> None:
    handler, in_fragments = b"", 0
    for seen, box in enumerate(_boxes(file, 0, os.fstat(file.fileno()).st_size)):
        if seen == MOST_BOXES:
            raise BadVideo(
                f"{path} holds more than {MOST_BOXES} boxes: it is not a video that a camera made", "too_large"
            )
        if box.kind == b"trak":
            handler = b""
        elif box.kind == b"hdlr":
            file.seek(box.start + 8)
            handler = file.read(4)
        elif box.kind in (b"stts", b"stsz", b"stz2", b"ctts", b"stss", b"stsc", b"elst"):
            _check_samples(path, file, box, handler)
        elif box.kind == b"trun":
            file.seek(box.start + 4)
            in_fragments += int.from_bytes(file.read(4), "big")
            _refuse_many(path, in_fragments, MOST_SAMPLES)


def _check_samples(path: Path, file: BinaryIO, box: _Box, handler: bytes) -> None:
    """Compare what a table declares with the room that it has, and with what is sensible."""
    file.seek(box.start)
    head = file.read(12)
    if len(head) < 8:
        return
    entry = {b"stts": 8, b"stsz": 4, b"stz2": 0, b"ctts": 8, b"stss": 4, b"stsc": 12, b"elst": 12}[box.kind]
    at = 8 if box.kind in (b"stsz", b"stz2") else 4
    (count,) = struct.unpack_from(">I", head, at) if len(head) >= at + 4 else (0,)
    alike = box.kind == b"stsz" and struct.unpack_from(">I", head, 4)[0] != 0  # all of one size: no table follows
    if not alike and count * entry > box.end - box.start:
        raise BadVideo(
            f"{path} is damaged: its table {box.kind.decode()} declares {count} entries and has no room for them"
        )
    _refuse_many(path, 0 if alike else count, MOST_SAMPLES)
    samples = count if box.kind in (b"stsz", b"stz2") else 0
    if box.kind == b"stts":
        samples, sound = _timed_samples(file, box, count)
        if sound:
            return
    elif alike and handler == b"soun":
        return  # uncompressed sound counts every value, and is read in chunks
    _refuse_many(path, samples, MOST_FRAMES if handler == b"vide" else MOST_SAMPLES)


def _refuse_many(path: Path, samples: int, most: int) -> None:
    if samples > most:
        raise BadVideo(
            f"{path} declares {samples} samples: more than {most} are refused, cut it into parts", "too_long"
        )


def _timed_samples(file: BinaryIO, box: _Box, count: int) -> tuple[int, bool]:
    """Return how many samples a table of durations declares, and whether it is that of uncompressed sound."""
    file.seek(box.start + 8)
    entries = struct.unpack(f">{2 * count}I", file.read(8 * count).ljust(8 * count, b"\0"))
    return sum(entries[::2]), count == 1 and entries[1] == 1


def _boxes(file: BinaryIO, start: int, end: int, depth: int = 0) -> Iterator[_Box]:
    while start + 8 <= end:
        file.seek(start)
        length, kind = struct.unpack(">I4s", file.read(8).ljust(8, b"\0"))
        header = 8
        if length == 1:
            length, header = int.from_bytes(file.read(8), "big"), 16
        elif length == 0:
            length = end - start
        if length < header:
            return
        box = _Box(kind, start + header, min(start + length, end))
        yield box
        if kind in NESTED and depth < len(NESTED):
            yield from _boxes(file, box.start, box.end, depth + 1)
        start += length
