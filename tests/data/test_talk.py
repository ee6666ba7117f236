from dataclasses import replace

import numpy as np
import pytest

from dfd.core.card import Showing
from dfd.core.errors import DfdError
from dfd.core.records import TalkInput
from dfd.data.crops import Crops
from dfd.data.talk import (
    NotTalking,
    TalkDataset,
    choose_speaker,
    file_talk_views,
    mouths_of,
    place_views,
    sound_under,
    stretches,
    varied,
)
from dfd.data.talk_datamodule import TalkDataModule
from dfd.data.views import Visit
from tests.talking import HOP, crops_of, opening, pictures, talking_heads, voice

INPUT = TalkInput(size=32, frames=20, windows=2, stride=16, margin=15)


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    return talking_heads(tmp_path_factory.mktemp("heads"), {"train": 3, "val": 4, "test": 2})


def test_evaluation_sees_all_of_a_clip_and_the_sound_under_it(heads):
    views = TalkDataset(heads.records, heads.folder, INPUT)[0]
    assert views["t"].tolist() == pytest.approx([0, 0.64, 1.28, 1.6])
    assert views["pixels"].shape == (4, 20, 3, 32, 32)
    assert views["sound"].shape == (4, 50 * HOP)
    samples = np.load(heads.folder / heads.records[0].assets["audio"])
    assert not views["sound"][0, : 15 * HOP].any()
    assert np.allclose(views["sound"][1], samples[HOP : 51 * HOP] / 32768.0)


def test_training_sees_other_views_each_time_and_the_same_for_the_same_seed(heads):
    dataset = TalkDataset(heads.records, heads.folder, INPUT, vary_sound=True)
    one, two, other = dataset[Visit(1, 5)], dataset[Visit(1, 5)], dataset[Visit(1, 6)]
    assert one["pixels"].shape == (2, 20, 3, 32, 32)
    assert all(np.array_equal(one[key], two[key]) for key in ("pixels", "sound", "t"))
    assert not np.array_equal(one["sound"], other["sound"])


@pytest.mark.parametrize("fps", [30_000 / 1001, 30.0, 50.0])
def test_another_rate_gives_pictures_of_the_same_moments(fps):
    track = opening(3, 100)
    fine = np.interp(np.arange(round(4 * fps)) / fps * 25, np.arange(100), track)
    ((seen, _),) = file_talk_views(
        crops_of(pictures(fine), fps), voice(track), replace(INPUT, stride=80, frames=90), Showing()
    )
    ((wanted, _),) = file_talk_views(
        crops_of(pictures(track)), voice(track), replace(INPUT, stride=80, frames=90), Showing()
    )
    height, expected = ((views["pixels"][0, :, 0, 20:, 16] < 40).sum(1) for views in (seen, wanted))
    assert np.abs(height.astype(int) - expected.astype(int)).mean() < 1.0


def test_a_view_never_crosses_frames_without_a_face():
    table = dict(crops_of(pictures(opening(1, 60))).table)
    table["valid"] = table["valid"].copy()
    table["valid"][25:28] = False
    assert [(tick, len(rows)) for tick, rows in stretches(table["t"], table["valid"], 25)] == [(0, 25), (28, 32)]
    views = place_views(table, INPUT)
    assert all(not {25, 26, 27} & set(rows.tolist()) for _, rows in views)
    assert max(tick + len(rows) for tick, rows in views) == 60


def test_a_short_clip_repeats_its_last_frame_and_says_so():
    crops, sound = crops_of(pictures(opening(1, 9))), voice(opening(1, 9))
    ((seen, _),) = file_talk_views(crops, sound, INPUT, Showing())
    assert seen["length"].tolist() == [9]
    assert np.array_equal(seen["pixels"][0, 8], seen["pixels"][0, 19])
    with pytest.raises(NotTalking, match="6 frames") as error:
        list(file_talk_views(crops_of(pictures(opening(1, 3))), sound, INPUT, Showing()))
    assert error.value.reason == "too_short"


def test_a_long_file_comes_in_parts_that_are_the_whole():
    crops, sound = crops_of(pictures(opening(1, 200))), voice(opening(1, 200))
    ((whole, _),) = file_talk_views(crops, sound, INPUT, Showing())
    parts = [
        seen
        for seen, _ in file_talk_views(
            crops, sound, INPUT, Showing(), together=3 * (20 * 3 * 32**2 + 4 * INPUT.samples)
        )
    ]
    assert [len(part["t"]) for part in parts[:-1]] == [3] * (len(parts) - 1)
    for name in ("pixels", "sound", "length", "t"):
        assert np.array_equal(np.concatenate([part[name] for part in parts]), whole[name])


class Fading(Crops):
    """Crops of a file of which a frame cannot be decoded the second time."""

    def stream(self):
        yield from ((row, image) for row, image in super().stream() if row != 7)


def test_a_frame_that_is_lost_later_is_shown_as_the_one_before():
    crops, sound = crops_of(pictures(opening(1, 60))), voice(opening(1, 60))
    ((seen, _),) = file_talk_views(Fading(crops.table, crops.images), sound, INPUT, Showing())
    assert np.array_equal(seen["pixels"][0, 7], seen["pixels"][0, 6])
    assert not np.array_equal(seen["pixels"][0, 8], seen["pixels"][0, 6])


def test_where_nothing_is_heard_there_is_a_reason_and_no_view():
    crops, sound = crops_of(pictures(opening(1, 60))), voice(opening(1, 60))
    with pytest.raises(NotTalking) as error:
        list(file_talk_views(crops, np.zeros(60 * HOP, np.int16), INPUT, Showing()))
    assert error.value.reason == "silent"
    late = np.concatenate([np.zeros(40 * HOP, np.int16), sound[: 20 * HOP]])
    ((seen, _),) = file_talk_views(crops, late, INPUT, Showing())
    assert seen["t"].min() >= 1.2
    assert not sound_under(sound, 200, INPUT).any()


def test_who_speaks_is_the_one_whose_mouth_follows_the_voice():
    track, other = opening(1, 60), opening(2, 60)
    silent, talking = (crops_of(pictures(t), track=number) for number, t in enumerate((other, track)))
    table = {name: np.concatenate([silent.table[name], talking.table[name]]) for name in silent.table}
    images = {**silent.images, **{60 + row: image for row, image in talking.images.items()}}
    both = Crops(table, images)
    assert choose_speaker(table, mouths_of(both), voice(track), 25) == 1
    assert choose_speaker(table, mouths_of(both), voice(other), 25) == 0
    assert choose_speaker(silent.table, mouths_of(silent), voice(track), 25) == 0


def test_only_real_clips_are_trained_on_and_a_fake_is_named(heads):
    data = TalkDataModule(heads, INPUT, workers=0)
    assert {record.method for record in data.records("train")} == {"real"}
    data.refuse_fakes("it is learned")
    with pytest.raises(DfdError, match=r"3 fakes.*train0_RVFA.*train_methods"):
        TalkDataModule(heads, INPUT, workers=0, train_methods=None).refuse_fakes("it is learned")
    with pytest.raises(DfdError, match="there are RVFA, real"):
        TalkDataModule(heads, INPUT, workers=0, train_methods=["nothing"]).records("train")


def test_people_whom_the_base_has_not_seen_are_shared_out(heads):
    data = TalkDataModule(heads, INPUT, workers=0, train_on="val", fit_share=0.5)
    fit, val = ({record.group for record in data.records(split)} for split in ("train", "val"))
    assert len(fit) == len(val) == 2
    assert not fit & val
    assert all(group.startswith("val") for group in fit | val)
    assert {record.group for record in data.records("test")} == {"test0", "test1"}


def test_a_network_of_pictures_is_refused(heads):
    from dfd.core.records import InputSpec

    with pytest.raises(DfdError, match="talking faces"):
        TalkDataModule(heads, InputSpec())


def test_varied_sound_is_still_the_same_sound():
    wave = voice(opening(1, 60)) / np.float32(32768)
    for seed in range(5):
        other = varied(wave, np.random.default_rng(seed))
        assert other.shape == wave.shape
        assert np.corrcoef(wave, other)[0, 1] > 0.6
