"""Finding and cutting faces, in seconds of one core, against decoding alone and against a detector on every frame."""

from collections.abc import Iterable
from pathlib import Path

import av
import cv2
import numpy as np
from facenet_pytorch import MTCNN
from matplotlib.cbook import get_sample_data

from benches.figure import Figure, fastest
from dfd.data.video import open_video
from dfd.preprocess.crop import CropOptions, Cutting, crop_video, drive
from dfd.preprocess.faces import Detections, MtcnnDetector
from dfd.preprocess.tracks import interpolate, iou, link, main_tracks

FRAMES = 300


def photo_video(path: Path, size: tuple[int, int], frames: int = FRAMES, seed: int = 0) -> Path:
    """Write a 25 fps H.264 video of a photograph (matplotlib's Grace Hopper) that moves, turns and grows."""
    with get_sample_data("grace_hopper.jpg") as file:
        photo = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    width, height = size
    random = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        for i in range(frames):
            scale = height / photo.shape[0] * (1 + 0.15 * np.sin(i / 37))
            matrix = cv2.getRotationMatrix2D((256, 200), 6 * np.sin(i / 21), scale)
            matrix[:, 2] += [width * (0.5 + 0.15 * np.sin(i / 45)) - 256, height * (0.4 + 0.05 * np.sin(i / 13)) - 200]
            image = cv2.warpAffine(photo, matrix, size, borderValue=(90, 110, 120))
            grain = random.normal(0, 2, (height, width, 1))
            frame = np.clip(image + grain, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def preprocess(folder: Path) -> Iterable[Figure]:
    """Faces of a 1280x720 video of twelve seconds, one core, everything but the writing."""
    path = photo_video(folder / "photo.mp4", (1280, 720))
    detector, theirs = MtcnnDetector(), MTCNN(keep_all=True, device="cpu")
    every, some = CropOptions(groups=0), CropOptions()
    kept = crop_video(path, some, detector)
    rates = fastest(
        {
            "decode": lambda: decode(path, range(FRAMES)),
            "decode, RGB": lambda: decode(path, range(FRAMES), rgb=True),
            "per frame": lambda: per_frame(path, theirs, 30),
            "every frame": lambda: crop_all(path, every, detector),
            "32 frames": lambda: len(crop_video(path, some, detector).images) and 1,
            "32 frames, decoding": lambda: decode(path, kept.table["frame"].tolist(), rgb=True) and 1,
            "fake": lambda: len(crop_video(path, some, detector, kept.table).images) and 1,
        }
    )
    slow = rates["per frame"]
    yield Figure("(a) decoding alone, every frame", rates["decode"], rates["decode, RGB"], "frames/s", "and to RGB")
    yield Figure("(b) facenet-pytorch, each frame at full size", slow, rates["decode"], "frames/s", "decoding alone")
    yield Figure("(c) ours, faces and crops of every frame", rates["every frame"], slow, "frames/s", "(b)")
    one, against = "videos/min", "decoding those frames alone"
    yield Figure(
        "(d) ours, 32 frames a video", 60 * rates["32 frames"], 60 * rates["32 frames, decoding"], one, against
    )
    yield Figure(
        "(d) its fake, with the same boxes", 60 * rates["fake"], 60 * rates["32 frames, decoding"], one, against
    )
    agree = agreement(path, theirs, detector)
    yield Figure("frames whose box agrees with (b), IoU >= 0.8", 100 * float((agree >= 0.8).mean()), 100, "%", "all")
    yield Figure("mean IoU with (b)", 100 * float(agree.mean()), 100, "%", "the same boxes")


def decode(path: Path, frames: Iterable[int], rgb: bool = False) -> int:
    """Decode the way that we do, and convert if asked."""
    with open_video(path) as video:
        return sum(1 for picture in video.pictures(list(frames)) if not rgb or picture.rgb() is not None)


def per_frame(path: Path, detector: MTCNN, count: int) -> int:
    """Detect the way that public scripts do: whole frames, one at a time, at full size."""
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == count:
                break
            detector.detect(frame.to_ndarray(format="rgb24"))
    return count


def crop_all(path: Path, options: CropOptions, detector: MtcnnDetector) -> int:
    """Find the face on every frame and cut it out, holding no crop longer than a container needs to be written."""
    work = Cutting(path, options)
    drive(work.look(), detector)
    return sum(1 for _ in work.stream())


def agreement(path: Path, theirs: MTCNN, ours: MtcnnDetector) -> np.ndarray:
    """Return the IoU of our interpolated box with the detector's own, on every fifth frame off our looks."""
    work = Cutting(path, CropOptions(groups=0))
    drive(work.look(), ours)
    found: dict[int, Detections] = work.detections or {}
    track = main_tracks(link(found, 0.9), (1280, 720))[0]
    values = []
    with open_video(path) as video:
        for picture in video.pictures(range(2, FRAMES, 5)):
            boxes, confidences = theirs.detect(picture.rgb())
            box = interpolate(track, np.array([picture.index]), FRAMES)["box"][0]
            values.append(0.0 if boxes is None else iou(boxes[int(np.argmax(confidences))].astype(float), box))
    return np.array(values)
