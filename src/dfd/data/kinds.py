"""What a file is by its first bytes, whatever its name says: a video, an image, sound, or something else."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from dfd.data.headers import unusual_file

Kind = Literal["video", "image", "sound", "other"]

VIDEO_SUFFIXES = (
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg",
    ".wmv", ".flv", ".ts", ".mts", ".m2ts", ".3gp", ".ogv", ".gif",
)  # fmt: skip
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif")

STARTS: tuple[tuple[bytes, Kind], ...] = (
    (b"\xff\xd8\xff", "image"),
    (b"\x89PNG\r\n\x1a\n", "image"),
    (b"BM", "image"),
    (b"II*\0", "image"),  # TIFF
    (b"MM\0*", "image"),
    (b"GIF8", "video"),  # mostly animated; a still one is a video of one frame
    (b"\x1aE\xdf\xa3", "video"),  # Matroska, WebM
    (b"FLV\x01", "video"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video"),  # ASF: WMV
    (b"\x00\x00\x01\xba", "video"),  # MPEG program stream
    (b"\x00\x00\x01\xb3", "video"),
    (b"ID3", "sound"),
    (b"fLaC", "sound"),
    (b"\xff\xfb", "sound"),
    (b"\xff\xf1", "sound"),
)
PICTURE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"jxl ")
SOUND_BRANDS = (b"M4A ", b"M4B ", b"M4P ")
HEAD = 400
SAMPLE = 5  # names of files left out that a message gives


class Sorted(NamedTuple):
    """The files of a folder: videos and images, and all others."""

    media: list[Path]
    others: list[Path]


def kind_of(path: Path) -> Kind:
    """Return what a file is; one that cannot be opened is "other"."""
    if unusual_file(path) is not None:
        return "other"
    try:
        with path.open("rb") as file:
            return kind_of_bytes(file.read(HEAD))
    except OSError:
        return "other"


def kind_of_bytes(head: bytes) -> Kind:
    """Return what a file is that begins with these bytes."""
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return "image" if brand in PICTURE_BRANDS else "sound" if brand in SOUND_BRANDS else "video"
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "video"  # QuickTime without a brand
    if head[:4] == b"RIFF":
        form: dict[bytes, Kind] = {b"WEBP": "image", b"AVI ": "video", b"WAVE": "sound"}
        return form.get(head[8:12], "other")
    if head[:4] == b"OggS":
        return "video" if b"theora" in head or b"VP80" in head else "sound"
    for start, kind in STARTS:
        if head.startswith(start):
            return kind
    transport = any(head[at : at + 1] == b"G" == head[at + step : at + step + 1] for at, step in ((0, 188), (4, 192)))
    return "video" if transport else "other"


def is_image(path: Path) -> bool:
    """Whether a file is a single picture; one that is not there is judged by its name."""
    kind = kind_of(path)
    return kind == "image" or (kind == "other" and path.suffix.lower() in IMAGE_SUFFIXES)


def sort_files(folder: Path) -> Sorted:
    """Return what lies below a folder, in order: videos and images by content or name, and all other files.

    A file with the name of a video or an image counts as one even if its content is broken, so that it is reported.
    """
    media: list[Path] = []
    others: list[Path] = []
    for path in sorted(path for path in folder.rglob("*") if not path.name.startswith(".") and path.is_file()):
        named = path.suffix.lower() in {*VIDEO_SUFFIXES, *IMAGE_SUFFIXES}
        (media if named or kind_of(path) in ("video", "image") else others).append(path)
    return Sorted(media, others)


def describe_others(others: Sequence[Path]) -> str:
    """Return what files were left out because they are neither videos nor images: counts by ending, and a few names."""
    endings = Counter(path.suffix.lower() or "no ending" for path in others)
    counts = ", ".join(f"{count} x {ending}" for ending, count in endings.most_common())
    names = ", ".join(path.name for path in others[:SAMPLE]) + (", ..." if len(others) > SAMPLE else "")
    return f"{len(others)} files are neither videos nor images and were left out ({counts}): {names}"
