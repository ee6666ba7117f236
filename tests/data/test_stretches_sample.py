"""The stand-ins for LAV-DF and TVIL: what is forged differs where the metadata says, and nowhere else."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dfd.core.manifest import check
from dfd.data.audio import read_sound
from dfd.data.datasets import lavdf, tvil
from dfd.data.sample import describe, stretches
from dfd.data.sample.stretches import LONGEST, SHORTEST, Take, cross_and_remove, speak_and_forge
from dfd.data.video import probe, read_frames


def frames(path: Path) -> np.ndarray:
    count = probe(path).frames
    return np.stack([image for _, _, image in read_frames(path, range(count))]).astype(float)


def within(times: np.ndarray, periods, margin: float = 0.0) -> np.ndarray:
    return np.any([(times >= start - margin) & (times < end + margin) for start, end in periods], 0)


def peak(one: np.ndarray, two: np.ndarray) -> float:
    """Return how much two frames differ where they differ most, after blurring what coding alone changes."""
    return float(np.abs(cv2.blur(one - two, (9, 9))).max())


@pytest.mark.slow
def test_words_are_replaced_where_the_metadata_says(tmp_path):
    (tmp_path / "train").mkdir()
    rows = speak_and_forge(Take("train", 0, 0, (0, 11, 0, 0)), tmp_path)
    (tmp_path / "metadata.min.json").write_text(json.dumps(rows))
    records = list(lavdf.index(tmp_path))
    assert [record.method for record in records] == ["real", "video", "audio", "both"]
    assert len({record.group for record in records}) == 1
    check(records)
    real, sound = frames(tmp_path / rows[0]["file"]), read_sound(tmp_path / rows[0]["file"]).samples
    moments, heard = (np.arange(len(real)) + 0.5) / 25, np.arange(len(sound)) / 16000
    for row in rows[1:]:
        assert 1 <= row["n_fakes"] <= 2
        assert all(SHORTEST - 1e-3 <= end - start <= LONGEST + 1e-3 for start, end in row["fake_periods"])
        shown = frames(tmp_path / row["file"])
        assert len(shown) == row["video_frames"] == len(real)
        moved = np.array([peak(one, two) for one, two in zip(shown, real, strict=True)])
        inside, outside = within(moments, row["fake_periods"]), ~within(moments, row["fake_periods"], 0.1)
        changed = np.abs(read_sound(tmp_path / row["file"]).samples[: len(sound)] - sound)
        spoken, silent = within(heard, row["fake_periods"]), ~within(heard, row["fake_periods"], 0.1)
        louder = (changed[spoken].mean() + 1e-6) / (changed[silent].mean() + 1e-6)
        assert (moved[inside].mean() > 2 * moved[outside].mean()) == row["modify_video"]
        assert (louder > 5) == row["modify_audio"]


@pytest.mark.slow
def test_an_object_is_gone_where_the_metadata_says(tmp_path):
    (tmp_path / "videos" / "train").mkdir(parents=True)
    rows = cross_and_remove(Take("train", 0, 0, (0, 12, 0, 0)), tmp_path)
    (tmp_path / "metadata.json").write_text(json.dumps(rows))
    records = list(tvil.index(tmp_path))
    assert [record.label for record in records].count(1) == 2
    assert len({record.group for record in records}) == 1
    check(records)
    real = frames(tmp_path / "videos" / "train" / "00000_real.mp4")
    for record in records:
        if record.label:
            difference = np.abs(frames(Path(record.path)) - real).mean((1, 2, 3))
            inside = within((np.arange(len(real)) + 0.5) / 25, [s[:2] for s in record.segments])
            assert difference[inside].mean() > 3 * difference[~inside].mean()


def test_people_stand_in_one_split_and_samples_have_facts():
    for identities in (5, 12, 40):
        split = stretches._split(identities)
        assert sorted(i for members in split.values() for i in members) == list(range(identities))
        assert all(len(members) for members in split.values())
    assert describe("lavdf")["identities"] == 40
    assert describe("tvil", seed=3, identities=7) == {"version": 1, "dataset": "tvil", "seed": 3, "identities": 7}
