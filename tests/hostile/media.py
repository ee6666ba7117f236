"""Media files that nobody should have to open, made here: no binaries lie in the repository."""

import io
import os
import random
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np

SIDE, FRAMES = 64, 12


def hostile_media(folder: Path) -> list[Path]:
    """Write the corpus into a folder; return its files, pipes, sockets and folders."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, data in (*_pictures(), *_videos(), *_scripts(), *_foreign()):
        (folder / name).write_bytes(data)
        made.append(folder / name)
    return made + [make(folder) for make in SPECIAL if hasattr(os, "mkfifo") or make not in (_pipe, _socket)]


def named(folder: Path) -> list[Path]:
    """Write good pictures under bad names; return those that the file system takes."""
    names = [b"caf\xe9.png", b"\xff\xfe.png", b"new\nline.png", b"tab\there.png", b"red\x1b[31m.png", b"bell\x07.png",
             b"title\x1b]0;owned\x07.png", b"=cmd|' /C calc'!A0.png", b"+1+1.png", b"-rf.png", b"@SUM(1).png",
             "right\u202eto.png".encode(), b"%03d.png", b"*.png", b"a,b\"c'.png", b"[x].png", b"x" * 251 + b".png",
             "\u2028line.png".encode(), b"$HOME`id`.png", b"${oc.env:HOME}.png"]  # fmt: skip
    picture = _png(8, 8)
    made = []
    for name in names:
        path = folder / os.fsdecode(name)
        try:
            path.write_bytes(picture)
        except OSError:
            continue
        made.append(path)
    return made


def good_video(codec: str = "libx264", suffix: str = "mp4", side: int = SIDE, frames: int = FRAMES) -> bytes:
    """Return a short video of noise."""
    generator = np.random.default_rng(0)
    out = io.BytesIO()
    with av.open(out, "w", format=suffix) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width = stream.height = side
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for _ in range(frames):
            picture = generator.integers(0, 255, (side, side, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return out.getvalue()


def endless_video(path: Path, frames: int = 99_999, side: int = 4096) -> None:
    """Write a small file of many large frames, of which each says that nothing changed since the one before."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=25, options={"cpu-used": "8", "deadline": "realtime"})
        stream.width = stream.height = side
        stream.pix_fmt, stream.gop_size = "yuv420p", 600
        black = av.VideoFrame.from_ndarray(np.zeros((side * 3 // 2, side), np.uint8), format="yuv420p")
        packets = []
        for number in range(3):
            black.pts = number
            packets += stream.encode(black)
        packets += stream.encode()
        last, base = bytes(packets[-1]), packets[-1].time_base  # muxing may rescale what it is given
        container.mux(packets)
        for number in range(len(packets), frames):
            packet = av.Packet(last)
            packet.stream, packet.pts, packet.dts = stream, number, number
            packet.time_base = base
            container.mux(packet)


def mov(samples: int, *, handler: bytes = b"vide", duration: int = 1000, scale: int = 25000, codec: bytes = b"avc1",
        side: int = 64, sample: bytes = bytes(64), declared: int | None = None) -> bytes:  # fmt: skip
    """Return a QuickTime file of one track that declares so many samples of one size."""
    size = len(sample)
    entry = _box(codec, bytes(6), b"\0\1", bytes(16), struct.pack(">HH", side, side), b"\0\x48\0\0\0\x48\0\0", bytes(4),
                 struct.pack(">H", 1), bytes(32), struct.pack(">HH", 24, 0xFFFF))  # fmt: skip
    tables = _box(
        b"stbl",
        _full(b"stsd", struct.pack(">I", 1), entry),
        _full(b"stts", struct.pack(">III", 1, samples, duration)),
        _full(b"stsc", struct.pack(">IIII", 1, 1, samples, 1)),
        _full(b"stsz", struct.pack(">II", size, samples if declared is None else declared)),
        _full(b"stco", struct.pack(">II", 1, 28)),
    )
    times = _full(b"mdhd", struct.pack(">IIIIHH", 0, 0, scale, scale, 0, 0))
    kind = _full(b"hdlr", bytes(4), handler, bytes(13))
    media = _box(b"mdia", times, kind, _box(b"minf", _full(b"vmhd", bytes(8)), tables))
    track = _full(
        b"tkhd", struct.pack(">IIIII", 0, 0, 1, 0, 1000), bytes(52), struct.pack(">II", side << 16, side << 16)
    )
    movie = _box(
        b"moov", _full(b"mvhd", struct.pack(">IIII", 0, 0, 1000, 1000), bytes(80)), _box(b"trak", track, media)
    )
    return _box(b"ftyp", b"qt  ", bytes(4)) + _box(b"mdat", sample)[0:] + movie


def _png(width: int, height: int, rows: int | None = None, extra: bytes = b"", depth: int = 8, kind: int = 2) -> bytes:
    rows = height if rows is None else rows
    data = zlib.compress(bytes(rows * (3 * width + 1)), 9)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _webp(*chunks: tuple[bytes, bytes], length: int | None = None) -> bytes:
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) if length is None else length) + body


def _vp8l(width: int, height: int) -> tuple[bytes, bytes]:
    return b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(8)


def _vp8x(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    return b"VP8X", bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def _coded(suffix: str) -> bytes:
    picture = np.random.default_rng(1).integers(0, 255, (40, 40, 3), np.uint8)
    return cv2.imencode(suffix, picture)[1].tobytes()


def _pictures() -> Iterator[tuple[str, bytes]]:
    jpeg, png, webp, bmp = (_coded(suffix) for suffix in (".jpg", ".png", ".webp", ".bmp"))
    sof = jpeg.index(b"\xff\xc0")
    yield "bomb.png", _png(32000, 32000, 200)
    yield "wide.png", _png(2**31 - 1, 1, 0)
    yield "nothing.png", _png(0, 0, 0)
    yield "half.png", png[: len(png) // 2]
    yield "header.png", png[:20]
    yield "crc.png", png[:-20] + bytes(4) + png[-16:]
    yield "text_bomb.png", _png(8, 8, extra=_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26), 9)))
    yield "profile_bomb.png", _png(8, 8, extra=_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**26), 9)))
    yield "many_chunks.png", _png(8, 8, extra=_chunk(b"tEXt", b"a\0b") * 20_000)
    yield "palette.png", _png(8, 8, kind=3)
    yield "depth.png", _png(8, 8, depth=77)
    yield "length.png", png[:8] + b"\xff\xff\xff\xff" + png[12:]
    yield "bomb.webp", _webp(_vp8l(16383, 16383))
    yield "canvas.webp", _webp(_vp8x(2**24, 2**24))
    yield "animated.webp", _webp(_vp8x(16384, 16384, 2), (b"ANIM", bytes(6)), (b"ANMF", bytes(16)))
    yield "inner.webp", _webp(_vp8x(8, 8), _vp8l(16383, 16383))
    yield "half.webp", webp[: len(webp) // 2]
    yield "length.webp", _webp(_vp8l(8, 8), length=2**32 - 1)
    yield "none.webp", _webp()
    yield "bomb.jpg", jpeg[: sof + 5] + b"\xff\xff\xff\xff" + jpeg[sof + 9 :]
    yield "second.jpg", jpeg[:sof] + jpeg[sof : sof + 5] + b"\xff\xff\xff\xff" + jpeg[sof + 9 : sof + 19] + jpeg[sof:]
    yield "nothing.jpg", jpeg[: sof + 5] + bytes(4) + jpeg[sof + 9 :]
    yield "half.jpg", jpeg[: len(jpeg) // 2]
    yield "markers.jpg", b"\xff\xd8" + b"\xff" * 2_000_000
    yield "comments.jpg", b"\xff\xd8" + b"\xff\xfe\0\2" * 200_000 + jpeg[2:]
    yield "exif.jpg", jpeg[:2] + b"\xff\xe1\xff\xffExif\0\0II*\0\xff\xff\xff\xff" + jpeg[2:]
    yield "bomb.bmp", bmp[:18] + struct.pack("<ii", 2**31 - 1, 2**31 - 1) + bmp[26:]
    yield "negative.bmp", bmp[:18] + struct.pack("<ii", -(2**31), -(2**31)) + bmp[26:]
    yield "short.bmp", bmp[:30]
    yield "rle.bmp", bmp[:18] + struct.pack("<ii", 10000, 10000) + bmp[26:28] + b"\x08\0\1\0\0\0" + bmp[34:]


def _videos() -> Iterator[tuple[str, bytes]]:
    good = good_video()
    for number, share in enumerate((0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)):
        yield f"cut{number}.mp4", good[: int(share * len(good))]
    for seed in range(8):
        yield f"flipped{seed}.mp4", flipped(good, seed)
    for codec, suffix in (("mpeg4", "avi"), ("libvpx", "webm"), ("mpeg4", "matroska"), ("mpeg2video", "mpegts")):
        name = {"matroska": "mkv", "mpegts": "mpg"}.get(suffix, suffix)
        yield f"flipped.{name}", flipped(good_video(codec, suffix), 3)
        yield f"cut.{name}", good_video(codec, suffix)[:1500]
    yield "samples.mov", mov(80_000_000)
    yield "samples_of_sound.mov", mov(80_000_000, handler=b"soun", duration=3)
    yield "lies.mov", mov(10, declared=150_000)
    yield "no_scale.mov", mov(10, scale=0)
    yield "years.mov", mov(100_000, duration=2**31 - 1, scale=1)
    yield "large.mov", mov(2, codec=b"png ", side=16384, sample=_png(16384, 16384, 1))
    yield "inner_bomb.mov", mov(2, codec=b"png ", sample=_png(30000, 30000, 1))
    yield (
        "jpeg_bomb.mov",
        mov(2, codec=b"jpeg", sample=b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\3\1\x22\0\2\x11\1\3\x11\1"),
    )
    yield (
        "fragments.mp4",
        _box(b"ftyp", b"isom", bytes(4))
        + _box(b"moof", _box(b"traf", _full(b"tfhd", struct.pack(">I", 1)), _full(b"trun", struct.pack(">I", 2**31)))),
    )
    yield "boxes.mp4", _box(b"ftyp", b"isom", bytes(4)) + _box(b"free") * 50_000
    yield "endless_box.mp4", _box(b"ftyp", b"isom", bytes(4)) + struct.pack(">I4sQ", 1, b"moov", 2**62)
    yield "russian_doll.mp4", _box(b"ftyp", b"isom", bytes(4)) + _nested(b"moov", 2000)
    yield (
        "tables.mp4",
        _box(b"ftyp", b"isom", bytes(4))
        + _box(
            b"moov", _box(b"trak", _box(b"mdia", _box(b"minf", _box(b"stbl", _full(b"stts", b"\xff\xff\xff\xff")))))
        ),
    )
    yield "sizes.mkv", b"\x1a\x45\xdf\xa3\x01\xff\xff\xff\xff\xff\xff\xfe" + bytes(100)
    yield "noise.mp4", random.Random(0).randbytes(50_000)
    yield "zeros.mp4", bytes(50_000)
    yield "empty.mp4", b""
    yield "byte.mp4", b"\0"
    yield "sound_only.mp4", _sound()


def _scripts() -> Iterator[tuple[str, bytes]]:
    yield "concat.mp4", b"ffconcat version 1.0\nfile cut5.mp4\n"
    yield "concat_absolute.avi", b"ffconcat version 1.0\nfile /etc/hostname\n"
    yield "playlist.mp4", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n"
    yield "playlist_bom.mkv", b"\xef\xbb\xbf#EXTM3U\n#EXTINF:1,\n/etc/hostname\n"
    yield "dash.mp4", b'<?xml version="1.0"?><MPD><BaseURL>http://127.0.0.1:9/</BaseURL></MPD>'
    yield "session.webm", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"
    yield "drawing.png", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1:9/x"/></svg>'
    yield "script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n(%pipe%id) (w) file\n"
    yield "magick.png", b"push graphic-context\nfill 'url(http://127.0.0.1:9/)'\n"


def _foreign() -> Iterator[tuple[str, bytes]]:
    yield "page.mp4", b"<!DOCTYPE html><html>not found</html>"
    yield "archive.jpg", b"PK\x05\x06" + bytes(18)
    yield "document.png", b"%PDF-1.7\n"
    yield "layers.jpg", b"8BPS\0\1" + bytes(6) + struct.pack(">HII", 3, 300000, 300000) + bytes(20)
    yield "tags.jpg", b"II*\0\x08\0\0\0\xff\xff" + bytes(200)
    yield "frames.jpg", b"GIF89a\xff\xff\xff\xff\0\0\0" + bytes(50)
    yield "depth.jpg", b"v/1\1\2\0\0\0" + bytes(100)
    yield "code.png", b"\x80\x04cposix\nsystem\n(X\x02\0\0\0idtR."
    yield "program.mp4", b"\x7fELF" + bytes(60)


def flipped(data: bytes, seed: int, share: float = 0.01) -> bytes:
    """Return data with some of its bytes changed."""
    chance = random.Random(seed)
    changed = bytearray(data)
    for _ in range(max(1, int(share * len(data)))):
        changed[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(changed)


def _sound() -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        for _ in range(4):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()


def _box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, *content: bytes) -> bytes:
    return _box(kind, bytes(4), *content)


def _nested(kind: bytes, depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = _box(kind, data)
    return data


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.png")
    return folder / "pipe.png"


def _video_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.mp4")
    return folder / "pipe.mp4"


def _socket(folder: Path) -> Path:
    path = folder / "socket.mp4"
    here = os.getcwd()
    os.chdir(folder)  # a socket's path has little room
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)
    return path


def _folder(folder: Path) -> Path:
    (folder / "folder.mp4").mkdir()
    return folder / "folder.mp4"


def _loop(folder: Path) -> Path:
    (folder / "loop.mp4").symlink_to(folder / "loop.mp4")
    return folder / "loop.mp4"


def _dangling(folder: Path) -> Path:
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    return folder / "dangling.png"


def _device(folder: Path) -> Path:
    (folder / "device.png").symlink_to("/dev/zero")
    return folder / "device.png"


def _terminal(folder: Path) -> Path:
    (folder / "null.mp4").symlink_to("/dev/null")
    return folder / "null.mp4"


SPECIAL: tuple[Callable[[Path], Path], ...] = (
    _pipe, _video_pipe, _socket, _folder, _loop, _dangling, _device, _terminal,
)  # fmt: skip
