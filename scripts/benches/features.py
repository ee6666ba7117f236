"""Features over time: videos a minute and bytes a video of every extractor, against decoding alone."""

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from benches.figure import Figure, race
from dfd.data.sample.talking import draw_person, film, saying, set_up, write_talk
from dfd.data.sample.voice import speak_for
from dfd.data.video import open_video
from dfd.models.byola import AudioNtt2020
from dfd.models.i3d import I3d
from dfd.models.tsn import to_mmaction, trunk
from dfd.preprocess.features.base import Extractor
from dfd.preprocess.features.byola import ByolaFeatures
from dfd.preprocess.features.extract import extract
from dfd.preprocess.features.frames import TimmFeatures
from dfd.preprocess.features.handcrafted import HandcraftedPictures, HandcraftedSound
from dfd.preprocess.features.i3d import I3dFeatures
from dfd.preprocess.features.tsn import TsnFeatures

SECONDS = 8.6  # the mean of LAV-DF


def features(folder: Path) -> Iterable[Figure]:
    """Every extractor on a talking head of 224 x 224 as long as LAV-DF's mean, one core, with random weights."""
    torch.set_num_threads(1)
    clip, short = talking(folder / "mean.mp4", SECONDS), talking(folder / "short.mp4", 0.8)
    quick: dict[str, list[Extractor]] = {
        "handcrafted, pictures": [HandcraftedPictures()],
        "handcrafted, sound": [HandcraftedSound()],
        "handcrafted, both in one decoding": [HandcraftedPictures(), HandcraftedSound()],
        "BYOL-A, 2048": [ByolaFeatures(str(weights(folder / "byola.pth", AudioNtt2020())))],
    }
    rates = race(
        {
            "decode": lambda: decode(clip),
            **{name: lambda chosen=chosen: bool(extract(clip, chosen).rows) for name, chosen in quick.items()},
        },
        rounds=2,
        clock=time.process_time,  # one core's own time: others may use the machine
    )
    floor = 60 * rates["decode"]
    for name, chosen in quick.items():
        yield Figure(name, 60 * rates[name], floor, "videos/min", f"decoding alone; {stored(clip, chosen)}")
    for name, network in slow(folder).items():
        start = time.process_time()
        extract(short, [network])
        rate = 60 / (time.process_time() - start) * 0.8 / SECONDS
        yield Figure(name, rate, floor, "videos/min", f"decoding alone; {stored(short, [network], SECONDS / 0.8)}")


def slow(folder: Path) -> dict[str, Extractor]:
    """Build the networks that look at pictures."""
    rgb, flow = (weights(folder / f"i3d_{n}.pt", I3d(n)) for n in (3, 2))
    frames, fields = (folder / f"tsn_{n}.pth" for n in (3, 10))
    for path, channels in ((frames, 3), (fields, 10)):
        torch.save({"state_dict": to_mmaction(trunk(channels).state_dict())}, path)
    return {
        "timm resnet50, every frame": TimmFeatures("resnet50", False),
        "TSN RGB, every frame": TsnFeatures(str(frames)),
        "TSN flow (DIS), every frame": TsnFeatures(str(fields)),
        "I3D RGB, every 4th frame": I3dFeatures(str(rgb)),
        "I3D flow (DIS), every 4th frame": I3dFeatures(str(flow)),
    }


def weights(path: Path, network: torch.nn.Module) -> Path:
    """Write a network's random weights."""
    torch.save(network.state_dict(), path)
    return path


def talking(path: Path, seconds: float) -> Path:
    """Write somebody who talks, as LAV-DF shows people."""
    person = draw_person(0, 13, 0)
    generator = np.random.default_rng(0)
    speech = speak_for(seconds, person.voice, generator)
    scene, motion = set_up(person, round(seconds * 25))
    write_talk(path, film(person.face, scene, saying(motion, speech), generator), speech.wave)
    return path


def decode(path: Path) -> int:
    """Decode every frame and convert it to RGB."""
    with open_video(path) as video:
        return bool(sum(picture.rgb() is not None for picture in video.pictures(range(video.info.frames))))


def stored(path: Path, extractors: list[Extractor], times: float = 1.0) -> str:
    """Say how many bytes the features of a video take on the disk."""
    rows = extract(path, extractors, "float16").rows
    return f"{times * sum(array.nbytes for array in rows.values()) / 1000:,.0f} kB a video"
