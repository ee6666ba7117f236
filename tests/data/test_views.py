"""Crops to batches: what the network's input asks for, one draw per video, the same in any process."""

import albumentations
import numpy as np
import pytest
import torch

from dfd.core.errors import DfdError
from dfd.core.records import InputSpec, SequenceInput
from dfd.data.align import fit
from dfd.data.augment import Augment
from dfd.data.collate import collate
from dfd.data.datamodule import FaceDataModule
from dfd.data.views import FaceViews, Visit

CLIP = InputSpec("clip", size=32, frames=4, clips=2)
WILD = Augment(
    {
        "noise": albumentations.GaussNoise(std_range=(0.1, 0.3), p=1),
        "flip": albumentations.HorizontalFlip(p=0.5),
        "off": None,
    }
)


def views(noise, spec, count=1, augment=None):
    return FaceViews(noise.split("train"), noise.folder, spec, count, augment)


def test_shapes_follow_the_input(noise):
    image = views(noise, InputSpec("image", 32), 3)[Visit(0)]
    assert image["pixels"].shape == (3, 3, 32, 32)
    clip = views(noise, CLIP, 2)[Visit(1)]
    assert clip["pixels"].shape == (2, 4, 3, 32, 32)
    assert clip["pixels"].dtype == np.uint8
    assert clip["label"] == 1
    assert clip["t"].tolist() == [0.0, 4 / 25]


def test_a_visit_is_a_function_of_its_seed(noise):
    dataset = views(noise, InputSpec("image", 32), 1, WILD)
    first, again, other = (dataset[Visit(0, seed)]["pixels"] for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_evaluation_is_never_augmented(noise):
    dataset = views(noise, InputSpec("image", 48), 2, WILD)
    assert np.array_equal(dataset[Visit(0)]["pixels"], views(noise, InputSpec("image", 48), 2)[Visit(0)]["pixels"])


def test_the_frames_of_a_video_share_one_draw(noise):
    brighter = Augment({"light": albumentations.RandomBrightnessContrast((0.2, 0.2), (0, 0), p=1)})
    plain, wild = (views(noise, CLIP, 2, augment)[Visit(1, 3)]["pixels"].astype(int) for augment in (None, brighter))
    change = (wild - plain)[plain < 180]
    assert len(np.unique(change)) <= 2  # one shift for all eight frames, but for rounding
    assert change.mean() > 20


def test_collate_makes_a_flat_batch(noise):
    dataset = views(noise, InputSpec("image", 32), 3)
    batch = collate([dataset[Visit(1)], dataset[Visit(4)]])
    assert batch["pixels"].shape == (6, 3, 32, 32)
    assert batch["pixels"].dtype == torch.uint8
    assert batch["video"].tolist() == [1, 1, 1, 4, 4, 4]
    assert batch["label"].tolist() == [1, 1, 1, 0, 0, 0]


def test_fit_keeps_and_scales():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert fit(image, 4) is image
    assert fit(image, 2).shape == (2, 2, 3)


def test_the_datamodule_visits_both_classes_alike(noise):
    data = FaceDataModule(noise, InputSpec("image", 32), batch_size=4, visits=2, workers=0)
    labels = torch.cat([batch["label"] for batch in data.train_dataloader()])
    assert len(labels) == 32
    assert labels.float().mean() == 0.5
    seen = torch.cat([batch["video"] for batch in data.test_dataloader()])
    assert sorted(set(seen.tolist())) == list(range(8))


def test_workers_change_nothing(noise):
    batches = [
        next(iter(FaceDataModule(noise, InputSpec("image", 32), WILD, 8, workers=count, seed=4).train_dataloader()))
        for count in (0, 1)
    ]
    assert torch.equal(batches[0]["pixels"], batches[1]["pixels"])


def test_what_cannot_be_trained_on_is_said(noise):
    with pytest.raises(DfdError, match="asks for 'sequence'"):
        FaceDataModule(noise, SequenceInput((), 8, 1.0))
    with pytest.raises(DfdError, match=r"noise/train0_real: the stored crops hold no 3 frames 5 apart"):
        views(noise, InputSpec("clip", 32, frames=3, stride=5))[Visit(0)]


def test_what_is_cut_from_stored_crops_comes_before_the_resize(noise):
    from dfd.data.transforms import MultiScaleCrop

    cut = views(noise, CLIP, 2, Augment(stored={"crop": MultiScaleCrop(scales=(0.5,))}))[Visit(0, 3)]
    whole = views(noise, CLIP, 2)[Visit(0, 3)]
    assert cut["pixels"].shape == whole["pixels"].shape
    assert not np.array_equal(cut["pixels"], whole["pixels"])


def test_official_sampling_gives_as_many_clips_as_asked_for(noise):
    dataset = FaceViews(noise.split("train"), noise.folder, CLIP, 8, sampling="official")
    assert dataset[Visit(0)]["pixels"].shape[0] == 8  # the video has only five different ones
