"""The dataset of forgeries that show only in time: no single frame gives them away, a sequence does."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

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
    assert len(records) == 30
    assert {record.split for record in records} == {"train", "val", "test"}
    assert {record.method for record in index(root, ["Flicker"])} == {"real", "Flicker"}
    fake = next(record for record in records if record.label)
    assert fake.original == f"real/{fake.group}"


@pytest.mark.slow
def test_colour_gives_a_flicker_away_over_time_and_not_in_a_frame(root):
    """Mean colours by frame: a classifier of frames is at chance, their spread over time separates perfectly."""
    colours, labels, people = [], [], []
    for record in index(root, ["Flicker"]):
        frames = [frame.mean((0, 1)) for _, _, frame in read_frames(Path(record.path), range(24))]
        colours.append(np.stack(frames))
        labels.append(record.label)
        people.append(int(record.group))
    labels, people = np.array(labels), np.array(people)
    spread = np.array([video.std(0).mean() for video in colours])
    assert roc_auc(labels, spread) == 1.0
    train = people % 2 == 0
    flat = np.concatenate(colours)
    per_frame, known = np.repeat(labels, 24), np.repeat(train, 24)
    model = LogisticRegression().fit(flat[known], per_frame[known])
    score = model.decision_function(flat[~known])
    assert 0.3 < roc_auc(per_frame[~known], score) < 0.7  # five people: their means vary


@pytest.mark.slow
def test_every_frame_is_coded_by_itself(root):
    import av

    for method in ("real", "Reordered"):
        with av.open(str(root / method / "000.mp4")) as container:
            assert all(packet.is_keyframe for packet in container.demux(video=0) if packet.size)


def test_a_missing_folder_says_that_it_is_rendered(tmp_path):
    with pytest.raises(DfdError, match=r"rendered, leave data\.root out"):
        list(index(tmp_path))
