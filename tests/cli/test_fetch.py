"""dfd-fetch: what it prints, what it brings, and that it ends in the counts."""

import io
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dfd.cli import fetch
from dfd.core.configs import config_dir
from dfd.core.errors import DfdError
from dfd.data.datasets.sources import SOURCES


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_every_source_has_a_configuration_and_says_its_licence(capsys):
    for name, source in SOURCES.items():
        assert (Path(config_dir()) / "data" / f"{name}.yaml").is_file()
        assert fetch.main([name]) == 0
        assert source.licence in capsys.readouterr().out
    assert fetch.main(["celebdfp"]) == 2
    assert "did you mean 'celebdfpp'" in capsys.readouterr().err


def test_it_brings_unpacks_and_compares(site, tmp_path, monkeypatch, capsys):
    folder, address = site
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("CoC_Dataset_zenodo/data/benchmark_inputs/a__b__c__d/real/1/f.jpg", b"x")
    (folder / "x.zip").write_bytes(buffer.getvalue())
    compared = []
    monkeypatch.setattr(fetch, "probe", lambda *arguments: compared.append(arguments))
    to = tmp_path / "to"
    assert fetch.main(["screendeepfakebench", f"to={to}", f"address={address}/x.zip"]) == 0
    assert (to / "CoC_Dataset_zenodo/data/benchmark_inputs/a__b__c__d/real/1/f.jpg").read_bytes() == b"x"
    assert compared == [("screendeepfakebench", to)]
    assert fetch.main(["screendeepfakebench", f"to={tmp_path / 'no'}", f"address={address}/no.zip"]) == 2
    assert "404" in capsys.readouterr().err


def test_without_a_client_it_says_what_to_put_there(tmp_path, capsys):
    assert fetch.main(["kodf", f"to={tmp_path / 'k'}"]) == 2
    assert "put there what the authors sent" in capsys.readouterr().err


def test_a_client_that_is_not_installed_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetch.shutil, "which", lambda name: None)
    assert fetch.main(["dfdc", f"to={tmp_path / 'd'}"]) == 2
    assert "kaggle is not installed" in capsys.readouterr().err


def test_probe_reads_what_was_unpacked(tmp_path, capsys):
    for name in ("real/0.mp4", "fake/0_fake.mp4"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    with pytest.raises(DfdError, match=r"UADFV in .* is not what was published"):
        fetch.probe("uadfv", tmp_path)
    assert "49" in capsys.readouterr().out
