"""The dataset of forgeries that show only in time: no single frame gives them away, a sequence does."""

from pathlib import Path

import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.core.manifest import check
from dfd.data.datasets.temporal import index
from dfd.data.sample import build
from dfd.data.video import read_frames
from dfd.metrics.ranking import roc_auc


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return build("temporal", tmp_path_factory.mktemp("temporal") / "temporal", identities=10)


@pytest.mark.slow
def test_records(root):
    records = list(index(root))
    assert not check(records)
    assert len(records) == 20
    assert {record.split for record in records} == {"train", "val", "test"}
    assert {(record.method, record.label) for record in records} == {("real", 0), ("Jumping", 1)}


@pytest.fixture(scope="module")
def warmth(root):
    """Red less blue of every frame, by method and person."""
    found: dict[str, list[np.ndarray]] = {}
    for record in index(root):
        means = np.stack([frame.mean((0, 1)) for _, _, frame in read_frames(Path(record.path), range(32))])
        found.setdefault(record.method, []).append(means[:, 0] - means[:, 2])
    return {method: np.stack(videos) for method, videos in found.items()}


@pytest.mark.slow
def test_a_sequence_gives_a_forgery_away_and_a_single_frame_does_not(warmth):
    real, fake = warmth["real"], warmth["Jumping"]
    steps = [np.median(np.abs(np.diff(videos, axis=1)), axis=1) for videos in (real, fake)]
    assert roc_auc(np.repeat([0, 1], 10), np.concatenate(steps)) == 1.0
    frames = np.concatenate([real.ravel(), fake.ravel()])
    assert roc_auc(np.repeat([0, 1], real.size), frames) == pytest.approx(0.5, abs=0.06)


@pytest.mark.slow
def test_every_frame_is_coded_by_itself(root):
    import av

    for method in ("real", "Jumping"):
        with av.open(str(root / method / "000.mp4")) as container:
            assert all(packet.is_keyframe for packet in container.demux(video=0) if packet.size)


def test_a_missing_folder_says_that_it_is_rendered(tmp_path):
    with pytest.raises(DfdError, match=r"rendered, leave data\.root out"):
        list(index(tmp_path))
