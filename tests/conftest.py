import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in two processes on two cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import settings

from dfd.core.manifest import Manifest
from dfd.core.records import Record
from dfd.data.crops import COLUMNS, Crops, write_crops

settings.register_profile("dfd", deadline=None)  # a busy machine is not a failure
settings.load_profile("dfd")

SPLITS = {"train": 8, "val": 4, "test": 4}


def noise_crops(seed: int, label: int, frames: int = 8, side: int = 48) -> Crops:
    """Crops of noise; a fake carries a bright square."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 160, (frames, side, side, 3), np.uint8)
    if label:
        images[:, 10:30, 10:30] += 90
    table = {name: np.zeros(frames) for name in COLUMNS}
    table |= {"frame": np.arange(frames), "t": np.arange(frames) / 25, "valid": np.ones(frames, bool)}
    return Crops(table | {"confidence": np.full(frames, 0.99)}, dict(enumerate(images)))


@pytest.fixture(scope="session")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A dataset of crops without videos: one real and one fake video per group."""
    folder: Path = tmp_path_factory.mktemp("noise")
    records = []
    for split, groups in SPLITS.items():
        for group in range(groups):
            for label, method in ((0, "real"), (1, "square")):
                name = f"{split}{group}_{method}"
                write_crops(folder / f"{name}.zip", noise_crops(len(records), label))
                assets = {"crops": f"{name}.zip"}
                records.append(
                    Record(name, "noise", split, label, f"{name}.mp4", f"{split}{group}", method, assets=assets)
                )
    manifest = Manifest(tuple(records), folder)
    manifest.write(folder / "manifest.parquet")
    return manifest


def draw_head(shift: int = 0, height: int = 256, width: int = 320) -> np.ndarray:
    """A face simple enough to draw in a test and good enough for MTCNN."""
    from dfd.data.sample.heads import draw_face, draw_identity, draw_motion
    from dfd.data.sample.scene import compose, draw_scene

    random = np.random.default_rng(3)
    person, scene = draw_identity(random), draw_scene(random)
    motion = draw_motion(random, 50, scene.size)
    motion.x[:] = motion.x[0] + shift
    return cv2.resize(compose(scene, draw_face(person, motion, 0), motion, 0), (width, height))


def write_video(path: Path, frames: list[np.ndarray], fps: int = 25) -> Path:
    """Write RGB frames as H.264."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "18", "threads": "1"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def turn_video(path: Path) -> Path:
    """Have an mp4 shown turned by a quarter, as a telephone does."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"\x40\x00\x00\x00", data.index(b"tkhd")) - 32  # of the track's header, whose corner is 1.0
    turned = [0, 0x10000, 0, -0x10000 & 0xFFFFFFFF, 0, 0]
    data[matrix : matrix + 24] = b"".join(value.to_bytes(4, "big") for value in turned)
    path.write_bytes(bytes(data))
    return path


@pytest.fixture(scope="session")
def head_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty frames of a head that moves one pixel a frame to the right."""
    return write_video(tmp_path_factory.mktemp("video") / "head.mp4", [draw_head(i) for i in range(30)])


@pytest.fixture(scope="session")
def tiny_ffpp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample of FaceForensics++ with as few people as there can be."""
    from dfd.data.sample import build

    return build("ffpp", tmp_path_factory.mktemp("sample") / "ffpp", identities=8)
