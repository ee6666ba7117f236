"""Synthetic outliers: strange enough, the same for the same record, and alike for all frames of a video."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset

from dfd.core.errors import DfdError
from dfd.core.records import Record
from dfd.data.outliers import BENIGN, CHANGES, CORRUPTIONS, FORGERIES, change, changed, outliers_of, with_changes
from dfd.data.views import Views, Visit

RECORDS = [Record(f"v{n}", "toy", "val", n % 2, "", f"g{n}", "swap") for n in range(12)]


def picture(seed=0, size=40):
    draw = np.random.default_rng(seed)
    ramp = np.linspace(30, 200, size)
    smooth = ramp[None, :, None] * 0.6 + ramp[None, None, :] * 0.4 + draw.normal(0, 12, (3, size, size))
    return np.clip(smooth, 0, 255).astype(np.uint8)[None]


class Pictures(Dataset):
    def __len__(self):
        return len(RECORDS)

    def __getitem__(self, visit):
        number = visit.video if isinstance(visit, Visit) else visit
        return Views(pixels=picture(number), t=np.zeros(1), draw=np.zeros(1, np.int64), label=0, video=number)


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_is_one_and_keeps_shape_and_type(kind):
    before = picture()
    after = change(before, kind, np.random.default_rng(1), picture(5))
    assert after.shape == before.shape
    assert after.dtype == np.uint8
    assert (after != before).mean() > 0.05


@pytest.mark.parametrize("kind", CHANGES)
def test_frames_of_a_video_are_changed_alike(kind):
    still = np.repeat(picture()[None], 3, axis=1)  # one clip of three equal frames
    after = change(still, kind, np.random.default_rng(2), still)
    assert after.shape == still.shape
    if "noise" not in kind:
        assert (after[0, 0] == after[0, 1]).all()


@given(st.sampled_from(sorted(BENIGN)), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_benign_changes_are_small(kind, seed):
    before = picture(seed)
    after = change(before, kind, np.random.default_rng(seed), before)
    assert np.abs(after.astype(float) - before).mean() < 15
    for strong in ("strong_noise", "rotated_noise"):
        much = change(before, strong, np.random.default_rng(seed), before)
        assert np.abs(much.astype(float) - before).mean() > 25


def test_outliers_depend_on_the_record_alone():
    records = outliers_of(RECORDS, [*CORRUPTIONS, *FORGERIES])
    assert {record.label for record in records} == {1}
    assert set(Counter(r.method for r in records).values()) == {1, 2}
    views = with_changes(Pictures(), records)
    forward = [views[n]["pixels"] for n in range(12)]
    backward = [views[n]["pixels"] for n in reversed(range(12))][::-1]
    assert all((a == b).all() for a, b in zip(forward, backward, strict=True))
    training = [views[Visit(0, seed)]["pixels"] for seed in (1, 1, 2)]
    kinds = [r.method for r in records]
    assert (training[0] == training[1]).all()
    noisy = kinds.index("synthetic/noise")
    assert (views[Visit(noisy, 1)]["pixels"] != views[Visit(noisy, 2)]["pixels"]).any()


def test_changed_records_keep_their_labels_and_others_stay_as_they_are():
    assert [r.label for r in changed(RECORDS, "jpeg75")] == [r.label for r in RECORDS]
    views = Pictures()
    assert with_changes(views, RECORDS) is views
    mixed = [*RECORDS[:6], *outliers_of(RECORDS[6:], ["blur"])]
    shown = with_changes(views, mixed)
    assert (shown[2]["pixels"] == views[2]["pixels"]).all()
    assert (shown[8]["pixels"] != views[8]["pixels"]).any()


def test_an_unknown_kind_is_named():
    with pytest.raises(DfdError, match="did you mean 'blur'"):
        outliers_of(RECORDS, ["blurr"])
