"""The same stages on a Ray of two workers: the same bytes as in this process."""

import pytest

from dfd.data.datasets import ffpp
from dfd.preprocess.crop import CropOptions
from dfd.preprocess.pipeline import crop_path, cut_faces
from dfd.preprocess.runner import Engine

OPTIONS = CropOptions(groups=2, length=2, detections=2)


@pytest.mark.slow
def test_ray_makes_the_same_crops(tiny_ffpp, tmp_path):
    pytest.importorskip("ray")
    records = [record for record in ffpp.index(tiny_ffpp) if record.group == "000_001"]
    assert cut_faces(records, tmp_path / "here" / "x", OPTIONS, Engine(workers=0)) == []
    assert cut_faces(records, tmp_path / "ray" / "x", OPTIONS, Engine(workers=2, launcher="ray")) == []
    for record in records:
        one, other = (crop_path(tmp_path / name / "x", record).read_bytes() for name in ("here", "ray"))
        assert one == other, record.id
