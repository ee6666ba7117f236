"""Runs whose networks were never trained: a detector of lips and voice, a localiser, and somebody who talks to both."""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from dfd.core.card import Looking
from dfd.data.sample.talking import draw_person, film, saying, set_up, write_talk
from dfd.data.sample.voice import speak_for
from dfd.inference.sandbox import OverLimit
from dfd.models.checkpoint import save_network
from dfd.preprocess.crop import CropOptions

SYNC = {
    "_target_": "dfd.models.avsync.AVSync",
    "variant": "tiny",
    "size": 32,
    "region": [0.5, 1.0, 0.2, 0.8],
    "frames": 10,
}
HEARS = {"_target_": "dfd.models.av_anomaly.AVAnomaly", "base": SYNC, "steps": 20, "stride": 10}
FINDS = {
    "_target_": "dfd.models.localisation.actionformer.ActionFormer",
    "streams": [["video", 408, 25.0], ["audio", 324, 25.0]],
    "length": 64,
    "channels": 16,
    "head_channels": 16,
    "arch": [1, 1, 2],
    "window": 5,
}
HANDMADE = {
    "extractors": {
        "pictures": {"_target_": "dfd.preprocess.features.handcrafted.HandcraftedPictures"},
        "sound": {"_target_": "dfd.preprocess.features.handcrafted.HandcraftedSound"},
    },
    "dtype": "float16",
    "pca": None,
}


def _saved(folder: Path, tree: dict, **facts: object) -> Path:
    from dfd.core.build import build
    from dfd.models.checkpoint import NETWORKS

    torch.manual_seed(0)
    (folder / "checkpoints").mkdir(parents=True)
    save_network(folder / "checkpoints/best.ckpt", build(tree, NETWORKS, "network"), tree, data="nothing", **facts)
    return folder


def hearing_run(folder: Path) -> Path:
    """Write a run that compares lips and voice."""
    crops = dataclasses.asdict(CropOptions(groups=0, look_every=1.0))
    return _saved(folder, HEARS, model="av_anomaly", crops=crops, looking=Looking(frames=None))


def finding_run(folder: Path, **facts: object) -> Path:
    """Write a run that finds stretches of time."""
    return _saved(folder, FINDS, model="actionformer", features=HANDMADE, crops=None, **facts)


def somebody_talks(path: Path, seconds: float = 2.0, seed: int = 7) -> Path:
    """Write somebody who says something."""
    random = np.random.default_rng(seed)
    person = draw_person(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    scene, motion = set_up(person, round(25 * seconds))
    speech = speak_for(seconds, person.voice, random)
    write_talk(path, film(person.face, scene, saying(motion, speech), random), speech.wave)
    return path


def outcome(answers):
    """Return what a sandbox answered about a file, or the error that says why it did not."""
    try:
        return list(answers)
    except OverLimit as error:
        return error
