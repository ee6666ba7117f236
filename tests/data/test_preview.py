"""The picture of what a network is shown."""

import numpy as np

from dfd.core.records import InputSpec
from dfd.data.augment import A, Augment
from dfd.data.datamodule import FaceDataModule
from dfd.data.preview import GAP, preview


def test_a_row_shows_a_video_untouched_then_augmented(noise):
    augment = Augment({"invert": A.InvertImg(p=1.0)})
    data = FaceDataModule(noise, InputSpec("image", 48), augment, workers=0)
    picture = preview(data, videos=2, draws=2)
    side = 48 + GAP
    assert picture.shape == (2 * side, 3 * side, 3)
    plain, first = (picture[:48, left : left + 48].astype(int) for left in (0, side))
    assert plain.std() > 10
    assert not np.array_equal(plain, first)
    assert (picture[48:side] == 255).all()


def test_the_frames_of_a_clip_lie_side_by_side(noise):
    data = FaceDataModule(noise, InputSpec("clip", 48, frames=4, clips=1), workers=0)
    assert preview(data, videos=1, draws=1).shape == (48 + GAP, 2 * (4 * 48 + GAP), 3)
