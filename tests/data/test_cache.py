"""Crops that are kept as shown are the crops that are shown."""

import errno
import os

import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.core.records import InputSpec
from dfd.data.cache import ShownCrops
from dfd.data.views import FaceViews, Showing, Visit

VISITS = (Visit(0, 3), Visit(0, 4), Visit(1))


@pytest.mark.parametrize("spec", [InputSpec("image", 32), InputSpec("clip", size=24, frames=4, clips=2)])
def test_kept_crops_are_the_same_crops(noise, tmp_path, spec, monkeypatch):
    records, folder = noise.split("train"), noise.folder
    plain, kept = (FaceViews(records, folder, spec, 2, cache=cache) for cache in (None, tmp_path))
    expected = [plain[visit]["pixels"] for visit in VISITS]
    for visit, pixels in zip(VISITS, expected, strict=True):
        assert (kept[visit]["pixels"] == pixels).all()
    monkeypatch.setattr("dfd.data.views.show", None)  # from now on nothing is decoded and resized
    for visit, pixels in zip(VISITS, expected, strict=True):
        assert (kept[visit]["pixels"] == pixels).all()


def test_what_is_shown_differently_is_kept_apart(noise, tmp_path):
    for size, showing in ((16, Showing()), (24, Showing()), (24, Showing(margin=0.1)), (24, Showing(align=True))):
        FaceViews(noise.split("train"), noise.folder, InputSpec("image", size), cache=tmp_path, showing=showing)[0]
    assert {path.name for path in tmp_path.iterdir()} == {"16", "24", "24-margin0.1", "24-aligned"}


def test_a_container_that_is_made_anew_is_read_anew(tmp_path):
    container, image = tmp_path / "crops.zip", np.full((4, 4, 3), 7, np.uint8)
    container.write_bytes(b"old")
    with ShownCrops(tmp_path / "kept.raw", container, 4) as kept:
        assert kept.read(2) is None
        kept.write(2, image)
        assert (kept.read(2) == image).all()
        assert kept.read(0) is None
        assert kept.read(3) is None
    container.write_bytes(b"newer")
    with ShownCrops(tmp_path / "kept.raw", container, 4) as kept:
        assert kept.read(2) is None


def test_a_frame_that_is_overwritten_is_read_anew(tmp_path):
    folder, image = tmp_path / "frames", np.full((4, 4, 3), 7, np.uint8)
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.png").write_bytes(b"frame")
        os.utime(folder / f"{number}.png", (number, number))
    for written in (None, 2):
        if written:
            (folder / "0.png").write_bytes(b"other")  # of the same size: the folder knows nothing of it
            os.utime(folder / "0.png", (written, written))
        with ShownCrops(tmp_path / "kept.raw", folder, 4) as kept:
            assert kept.read(0) is None
            kept.write(0, image)
    with ShownCrops(tmp_path / "kept.raw", folder, 4) as kept:
        assert (kept.read(0) == image).all()


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    (tmp_path / "crops.zip").write_bytes(b"crops")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(DfdError, match=r"kept\.raw: No space left on device: give data\.loader\.cache another folder"):
        ShownCrops(tmp_path / "kept.raw", tmp_path / "crops.zip", 4)
