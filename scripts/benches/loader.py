"""Training views: ours, the way that most code reads frames, and the decoding that neither can do without."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor

from benches.figure import Figure, fastest
from benches.preprocess import photo_video
from dfd.core.build import allowed, build
from dfd.core.configs import config_dir
from dfd.core.errors import DfdError
from dfd.core.records import InputSpec, Record
from dfd.data.augment import Augment
from dfd.data.collate import collate
from dfd.data.crops import encode, write_crops
from dfd.data.sampling import choose
from dfd.data.views import FaceViews, Visit
from dfd.preprocess.crop import CropOptions, crop_video
from dfd.preprocess.faces import MtcnnDetector

CLIPS, LENGTH, SIZE, VISITS = 8, 4, 112, 6
DEFAULT = {  # of augment=default
    "flip": A.HorizontalFlip(p=0.5),
    "light": A.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=0.1, p=0.3),
    "jpeg": A.ImageCompression(quality_range=(60, 100), p=0.2),
}


def loader(folder: Path) -> Iterable[Figure]:
    """Eight random clips of four frames of a video, as TALL asks for them, to a batch of floats; one core."""
    record, files = stored(folder)
    encoded = [np.frombuffer(file.read_bytes(), np.uint8) for file in files[: CLIPS * LENGTH]]
    spec = InputSpec("clip", SIZE, LENGTH, 1, CLIPS)
    for name, transforms in (("not augmented", {}), ("augment=default", DEFAULT)):
        ours, kept = (
            FaceViews([record], folder, spec, CLIPS, Augment(transforms), cache=c) for c in (None, folder / "kept")
        )
        plain = PlainFrames(files, transforms)
        if not all(torch.equal(batch(views, 1), plain.clips(1)) for views in (ours, kept, kept)):  # kept, then read
            raise DfdError("the two readers differ: their rates cannot be compared")
        rates = fastest(
            {
                "ours": lambda ours=ours: sum(len(batch(ours, seed)) for seed in range(VISITS)),
                "kept": lambda kept=kept: sum(len(batch(kept, seed)) for seed in range(VISITS)),
                "plain": lambda plain=plain: sum(len(plain.clips(seed)) for seed in range(VISITS)),
                "decoding": lambda: decoded(encoded) // LENGTH,
            }
        )
        against = "PNG by PNG, frame by frame: same pixels"
        yield Figure(f"clips, {name}", rates["ours"], rates["decoding"], "clips/s", "decoding the PNGs")
        yield Figure(f"clips, {name}", rates["ours"], rates["plain"], "clips/s", against)
        yield Figure(f"clips, {name}, kept as shown", rates["kept"], rates["plain"], "clips/s", against, 3)


def augment(folder: Path) -> Iterable[Figure]:
    """What augmentation costs a worker per visit, with and without what the device can do; one core."""
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    images = np.repeat(cv2.GaussianBlur(picture, (0, 0), 3)[None], CLIPS * LENGTH, 0)
    strong, left = (chain(name) for name in ("strong", "strong_on_device"))
    for name, shown in ((f"{CLIPS} clips of {LENGTH} frames", images), ("an image", images[:1])):
        works = {
            each: lambda chain=chain, shown=shown: sum(len(chain(shown, seed)[:1]) for seed in range(5 * VISITS))
            for each, chain in (("left", left), ("strong", strong))
        }
        rates = fastest(works)
        yield Figure(f"augment=strong_on_device, {name}", rates["left"], rates["strong"], "visits/s", "augment=strong")


def chain(name: str) -> Augment:
    """Build a shipped augmentation."""
    tree = OmegaConf.to_container(OmegaConf.load(config_dir() / "augment" / f"{name}.yaml"))
    return build(tree, allowed(()), "augment")


def stored(folder: Path) -> tuple[Record, list[Path]]:
    """Cut a video of 120 frames into a container and, the same crops, into a folder of PNGs."""
    crops = crop_video(photo_video(folder / "faces.mp4", (640, 480), 120), CropOptions(groups=0), MtcnnDetector())
    write_crops(folder / "faces.zip", crops, CropOptions().image_format)
    (folder / "frames").mkdir()
    files = [folder / "frames" / f"{row:06d}.png" for row in crops.images]
    for file, image in zip(files, crops.images.values(), strict=True):
        file.write_bytes(encode(image, "png", 95))
    return Record("faces", "bench", "train", 0, "faces.mp4", "faces", assets={"crops": "faces.zip"}), files


def decoded(files: Sequence[np.ndarray]) -> int:
    """Decode PNGs in memory, as many times as there are visits; return how many they were."""
    return sum(cv2.imdecode(data, cv2.IMREAD_COLOR) is not None for _ in range(VISITS) for data in files)


def batch(views: FaceViews, seed: int) -> Tensor:
    """Return the clips of one visit as the network gets them, (8, 4, 3, S, S)."""
    return collate([views[Visit(0, seed)]])["pixels"].float().div_(255)


class PlainFrames:
    """Reads a folder of frames as most code does: file by file, transform by transform, each frame to floats."""

    def __init__(self, files: list[Path], transforms: dict[str, A.BasicTransform]) -> None:
        self.files = files
        self.compose = A.Compose(list(transforms.values()))

    def clips(self, seed: int) -> Tensor:
        """Return the same clips, with the same draws for all frames of a video."""
        generator = np.random.default_rng(seed)
        count = len(self.files)
        rows = choose(np.arange(count), np.ones(count, bool), CLIPS, LENGTH, 1, generator)
        draw = int(generator.integers(2**31))
        frames = [self.frame(self.files[row], draw) for row in rows.ravel()]
        return torch.stack(frames).view(*rows.shape, *frames[0].shape)

    def frame(self, file: Path, draw: int) -> Tensor:
        """Return one frame, (3, S, S) in [0, 1]."""
        image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        image = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        self.compose.set_random_seed(draw)
        image = self.compose(image=image)["image"]
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float().div(255)
