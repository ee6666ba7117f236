"""Rendered clips on which face tracks go wrong: a valid row shows a face, and that of one person."""

import numpy as np
import pytest

from dfd.preprocess.crop import CropOptions, crop_video
from dfd.preprocess.faces import MtcnnDetector
from dfd.preprocess.scenes import find_cuts, thumbnail
from tests.conftest import write_video
from tests.preprocess.clips import CLIPS, Head


@pytest.fixture(scope="module")
def detector():
    return MtcnnDetector()


def shown(table, heads) -> list[int | None]:
    """Return who is at the box of every valid row; None where nobody is."""
    people = []
    for row in np.flatnonzero(table["valid"]):
        x, y = (float(table[f"{axis}0"][row] + table[f"{axis}1"][row]) / 2 for axis in "xy")
        here = [head for head in heads[int(table["frame"][row])] if _holds(head, x, y)]
        people.append(min(here, key=lambda head: abs(head.x - x)).person if here else None)
    return people


def _holds(head: Head, x: float, y: float) -> bool:
    return head.visible >= 0.4 and abs(head.x - x) < 0.8 * head.half and abs(head.y - y) < 1.2 * head.half


@pytest.mark.parametrize(
    ("name", "seed", "share"),
    [
        ("pans_out", 1, 0.25),
        ("black_first", 1, 0.45),
        ("cut_to_another", 1, 0.45),
        ("cut_to_nobody", 1, 0.7),
        ("crossing", 22, 0.6),
        ("fast", 1, 0.5),
    ],
)
def test_valid_rows_show_one_persons_face(name, seed, share, detector, tmp_path):
    clip = CLIPS[name](seed)
    table = crop_video(write_video(tmp_path / "clip.mp4", clip.frames), CropOptions(), detector).table
    people = shown(table, clip.heads)
    assert None not in people
    assert max(people.count(person) for person in set(people)) >= 0.9 * len(people)  # hidden ones may be mistaken
    if name != "crossing":
        assert len(set(people)) == 1
    assert table["valid"].mean() >= share
    assert (table["confidence"][~table["valid"]] == 0).all()
    assert table["detected"][table["valid"]].any()


def test_a_cut_is_found_and_motion_is_not_one():
    clip = CLIPS["cut_to_another"](1)
    thumbnails = [thumbnail(frame.mean(2).astype(np.uint8)) for frame in clip.frames]
    assert find_cuts(range(len(thumbnails)), thumbnails).tolist() == [45]
    moving = [thumbnail(frame.mean(2).astype(np.uint8)) for frame in CLIPS["fast"](1).frames]
    assert not len(find_cuts(range(len(moving)), moving))
    black = [np.zeros((16, 16), np.float32)] * 3
    assert not len(find_cuts(range(3), black))
