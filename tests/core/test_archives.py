"""Downloads that stop and go on, and archives that want out of their folder."""

import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dfd.core.archives import archives, unpack
from dfd.core.download import download
from dfd.core.errors import DfdError

BODY = bytes(range(256)) * 4000


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            log.append(self.headers.get("Range"))
            start = 0
            if self.headers.get("Range") and self.headers.get("If-Range") == state["etag"]:
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            self.send_response(206 if start else 200)
            self.send_header("ETag", state["etag"])
            self.send_header("Content-Length", str(len(state["body"]) - start))
            self.end_headers()
            self.wfile.write(state["body"][start : state["stop"]])

        def log_message(self, *arguments):
            pass

    log, state = [], {"etag": '"1"', "body": BODY, "stop": None}
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}/x.zip", state, log
    http.shutdown()
    http.server_close()


def test_a_download_goes_on_where_it_stopped(server, tmp_path):
    url, state, log = server
    state["stop"] = 300_000
    with pytest.raises(DfdError, match="the same command goes on"):
        download(url, tmp_path / "x.zip")
    state["stop"] = None
    assert download(url, tmp_path / "x.zip")
    assert (tmp_path / "x.zip").read_bytes() == BODY
    assert log == [None, "bytes=300000-"]
    assert not download(url, tmp_path / "x.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]


def test_a_file_that_changed_meanwhile_starts_again(server, tmp_path):
    url, state, _ = server
    state["stop"] = 300_000
    with pytest.raises(DfdError):
        download(url, tmp_path / "x.zip")
    state.update(stop=None, etag='"2"', body=BODY[::-1])
    download(url, tmp_path / "x.zip")
    assert (tmp_path / "x.zip").read_bytes() == BODY[::-1]


def zipped(names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 5000)
    return buffer.getvalue()


def test_parts_are_one_archive_and_what_is_there_is_kept(tmp_path):
    whole = zipped(["a/b.mp4", "c.mp4"])
    for number in range(1, 4):
        cut = whole[(number - 1) * 4000 : number * 4000 if number < 3 else None]
        (tmp_path / f"t.zip.{number:03d}").write_bytes(cut)
    (parts,) = archives(tmp_path)
    assert unpack(parts, tmp_path / "out") == 2
    assert (tmp_path / "out/a/b.mp4").read_bytes() == b"x" * 5000
    assert unpack(parts, tmp_path / "out") == 0
    (tmp_path / "t.zip.002").unlink()
    with pytest.raises(DfdError, match="missing"):
        archives(tmp_path)


@pytest.mark.parametrize("name", ["../out.txt", "/etc/x", "a/../../x", "C:/x", "..\\x"])
def test_names_that_leave_the_folder_are_refused(tmp_path, name):
    (tmp_path / "t.zip").write_bytes(zipped(["good.txt", name]))
    with pytest.raises(DfdError, match="leaves its folder"):
        unpack([tmp_path / "t.zip"], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_links_are_refused_in_archives_and_on_the_way(tmp_path):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
        with tarfile.open(tmp_path / "t.tar", "w") as tar:
            link = tarfile.TarInfo("a")
            link.type, link.linkname = kind, "/etc"
            tar.addfile(link)
        with pytest.raises(DfdError, match="link or device"):
            unpack([tmp_path / "t.tar"], tmp_path / "out")
    info = zipfile.ZipInfo("l")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "l.zip", "w") as archive:
        archive.writestr(info, "/etc")
    with pytest.raises(DfdError, match="link or device"):
        unpack([tmp_path / "l.zip"], tmp_path / "out")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "d").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "t.zip").write_bytes(zipped(["d/x.txt"]))
    with pytest.raises(DfdError, match="link out of"):
        unpack([tmp_path / "t.zip"], tmp_path / "out")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_damaged_archive_says_so(tmp_path):
    (tmp_path / "t.zip").write_bytes(b"not an archive")
    with pytest.raises(DfdError, match="damaged"):
        unpack([tmp_path / "t.zip"], tmp_path / "out")
