"""Rendered files say that they are; nothing else is opened to find out."""

import av
import numpy as np
import pytest

from dfd.data.sample.mark import MARK, MARKER, is_rendered
from tests.conftest import write_video


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    path = tmp_path_factory.mktemp("marked") / "made.mp4"
    frame = np.full((64, 64, 3), 90, np.uint8)
    with av.open(str(path), "w") as container:
        container.metadata["comment"] = MARK
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())
    return path


def test_a_file_or_its_folder_says_so(marked, tmp_path):
    plain = write_video(tmp_path / "a/b/filmed.mp4", [np.zeros((64, 64, 3), np.uint8)] * 2)
    assert is_rendered(marked)
    assert not is_rendered(plain)
    (tmp_path / MARKER).write_text("{}")
    assert is_rendered(plain)


def test_no_other_file_is_opened(marked, monkeypatch):
    playlist = marked.with_name("list.mp4")
    playlist.write_text(f"ffconcat version 1.0\nfile {marked.name}\n")
    opened = []
    monkeypatch.setattr("dfd.data.video.av.open", lambda *args, **options: opened.append(args))
    assert not is_rendered(playlist)
    assert opened == []
