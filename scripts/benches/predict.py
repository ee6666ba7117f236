"""Judging a video: ours against the DFDC winner's procedure, same network and video; scripts/bench.py predict."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN

from benches.figure import Figure, fastest
from benches.preprocess import FRAMES, photo_video
from dfd.core.card import Card, Looking
from dfd.data.erasing import letterbox
from dfd.inference.engine import Engine, Member
from dfd.inference.verdict import Judging
from dfd.inference.views import FileViews, ViewOptions
from dfd.models.base import Detector
from dfd.models.image import ImageDetector
from dfd.preprocess.crop import CropOptions

LOOKS = 32


def predict(folder: Path) -> Iterable[Figure]:
    """A 1920x1080 video of twelve seconds, 32 frames of it, one core: decode, find faces, score."""
    path = photo_video(folder / "hd.mp4", (1920, 1080))
    for name, size in (("tf_efficientnet_b0", 224), ("tf_efficientnet_b4", 380)):
        network = ImageDetector(name, pretrained=False, size=size).eval()
        options = ViewOptions(network.input, CropOptions(), Looking(frames=LOOKS))
        engine = Engine([Member(network, Card({}), options, path)], Judging(), LOOKS)
        finder = MTCNN(margin=0, thresholds=[0.7, 0.8, 0.8], device="cpu", keep_all=True)
        views = list(engine.extractor(path))
        with torch.inference_mode():
            rates = fastest(
                {
                    "ours": lambda engine=engine: ours(engine, path),
                    "winner": lambda network=network, finder=finder: winners(network, finder, path),
                    "network": lambda engine=engine, views=views: score(engine, path, views),
                },
                rounds=2,
            )
        videos = {key: 60 * rate for key, rate in rates.items()}
        yield Figure(f"ours, {name} at {size} px", videos["ours"], videos["winner"], "videos/min", "the winner's way")
        yield Figure(f"ours, {name} at {size} px", videos["ours"], videos["network"], "videos/min", "the network alone")


def ours(engine: Engine, path: Path) -> int:
    """Judge one video as predict.py does."""
    assert engine.judge(path).count == LOOKS
    return 1


def score(engine: Engine, path: Path, views: list[FileViews]) -> int:
    """Run the network over views that are there already."""
    engine.decide(path, views)
    return 1


def winners(network: Detector, finder: MTCNN, path: Path) -> int:
    """Judge as the winner's script does: every frame grabbed, MTCNN frame by frame at half size, faces one by one."""
    faces = [face for frame in spread(path) for face in cut(frame, finder)]
    pixels = []
    for face in faces:
        square = letterbox(face, network.input.size)
        pixels.append(torch.from_numpy(square).permute(2, 0, 1).float() / 255)
    network(torch.stack(pixels))
    return 1


def spread(path: Path) -> Iterator[np.ndarray]:
    """Yield 32 frames of a video, read from its beginning to its end."""
    wanted = set(np.linspace(0, FRAMES - 1, LOOKS).astype(int).tolist())
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                yield frame.to_ndarray(format="rgb24")


def cut(frame: np.ndarray, finder: MTCNN) -> Iterator[np.ndarray]:
    """Yield every face of a frame with a third of its size around it."""
    height, width = frame.shape[:2]
    boxes, _ = finder.detect(cv2.resize(frame, (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    for box in [] if boxes is None else 2 * boxes:
        pad = np.array([box[2] - box[0], box[3] - box[1]]) / 3
        left, top = np.maximum(box[:2] - pad, 0).astype(int)
        right, bottom = (box[2:] + pad).astype(int)
        yield frame[top:bottom, left:right]
