"""Measure what costs time against its floor, in one run: scripts/bench.py --help lists the benches."""

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import av
import bench_preprocess
import cv2
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from bench_preprocess import Figure
from rich.console import Console
from rich.table import Table
from timm.models.swin_transformer import WindowAttention

from dfd.core.predictions import COLUMNS
from dfd.core.records import InputSpec, Record
from dfd.data.crops import CropReader, write_crops
from dfd.data.sample.heads import draw_face, draw_identity, draw_motion
from dfd.data.sample.scene import compose, draw_scene
from dfd.data.views import FaceViews, Visit
from dfd.evaluation.evaluate import evaluate
from dfd.evaluation.protocol import Protocol
from dfd.models.meso import MesoInception4
from dfd.models.tall import Tall, tile
from dfd.preprocess.crop import CropOptions, crop_video
from dfd.preprocess.faces import MtcnnDetector


def rate(work: Callable[[], int], seconds: float = 2.0) -> float:
    """Return how many items a second `work` gets through; it is called until the time is over, once to warm up."""
    work()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        done += work()
    return done / (time.perf_counter() - start)


def loader(folder: Path) -> Iterable[Figure]:
    """Random frames out of a container, one process."""
    path = head_video(folder / "small.mp4", (480, 360), 60)
    write_crops(folder / "head.zip", crop_video(path, CropOptions(), MtcnnDetector()))
    record = Record("head", "bench", "train", 0, str(path), "head", assets={"crops": "head.zip"})
    with CropReader(folder / "head.zip") as reader:
        image = reader.read([0])[0]
    encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    floor = rate(lambda: cv2.imdecode(encoded, cv2.IMREAD_COLOR) is not None)
    views = FaceViews([record], folder, InputSpec("image", 224), 1)
    clips = FaceViews([record], folder, InputSpec("clip", 112, 4, 1, 8), 8)
    seeds = iter(range(10**9))
    against = f"decoding a {image.shape[0]} px PNG"
    one = rate(lambda: len(views[Visit(0, next(seeds))]["t"]))
    yield Figure("one random frame", one, floor, "frames/s", against)
    yield Figure(
        "8 random clips of 4", rate(lambda: 4 * len(clips[Visit(0, next(seeds))]["t"])), floor, "frames/s", against
    )


def train(folder: Path) -> Iterable[Figure]:
    """A step of MesoInception-4 against its forward pass."""
    network, pixels = MesoInception4(128), torch.rand(16, 3, 128, 128)
    optimizer = torch.optim.AdamW(network.parameters())

    def forward() -> int:
        with torch.inference_mode():
            network(pixels)
        return len(pixels)

    def step() -> int:
        optimizer.zero_grad()
        network(pixels).logits.sum().backward()
        optimizer.step()
        return len(pixels)

    yield Figure("MesoInception-4, 128 px, a step", rate(step), rate(forward), "images/s", "forward alone")


def evaluation(folder: Path) -> Iterable[Figure]:
    """Every number of a million frames with 2,000 resamples: of frames, of videos, and of each of four methods."""
    random = np.random.default_rng(0)
    video = np.arange(1_000_000) // 32
    label = (video % 5 > 0).astype(int)
    method = np.where(label, np.array(["real", "A", "B", "C", "D"])[video % 5], "real")
    columns = [video.astype(str), "bench", method, (video // 10).astype(str), label, np.arange(1e6) % 32]
    table = pd.DataFrame(dict(zip(COLUMNS, [*columns, 1 / (1 + np.exp(-random.normal(label, 1)))])))
    seconds = []
    for resamples in (0, 2000):
        start = time.perf_counter()
        evaluate(table, Protocol(resamples=resamples))
        seconds.append(time.perf_counter() - start)
    rows = [len(table) / took for took in seconds]
    yield Figure("1,000,000 rows, 2,000 resamples", rows[1], rows[0], "rows/s", "no intervals")


def tall(folder: Path) -> Iterable[Figure]:
    """TALL on Swin-B against a transcription of the official forward, same weights; on CUDA also AMP and compiled."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clips = torch.rand(2 if device.type == "cpu" else 64, 4, 3, 112, 112, device=device)
    ours = Tall(pretrained=False, drop_path=0.0).to(device).eval()
    plain = official_forward(copy.deepcopy(ours))
    with torch.inference_mode():
        difference = (ours(clips).logits - plain(clips)).abs().max().item()
    against = f"transcription (logits differ by {difference:.0e})"
    infer = torch.inference_mode()
    answer, floor = race(infer(lambda: done(ours(clips).logits)), infer(lambda: done(plain(clips))))
    yield Figure(f"TALL Swin-B, inference, {device.type}", answer, floor, "clips/s", against)
    ours.train()
    step, floor = race(lambda: backward(ours(clips).logits), lambda: backward(plain(clips)))
    yield Figure(f"TALL Swin-B, forward and backward, {device.type}", step, floor, "clips/s", against)
    if device.type == "cuda":
        ours.compile()
        with torch.autocast("cuda", torch.bfloat16):
            fast = rate(lambda: backward(ours(clips).logits), 8)
        yield Figure("TALL Swin-B, forward and backward, bf16, compiled", fast, floor, "clips/s", "transcription, fp32")


def race(ours: Callable[[], int], floor: Callable[[], int], rounds: int = 3) -> tuple[float, float]:
    """Return the best rates of two pieces of work that take turns, so that a busy machine hinders both alike."""
    best = [0.0, 0.0]
    for turn in range(2 * (rounds + 1)):
        start = time.perf_counter()
        items = (ours, floor)[turn % 2]()
        if turn > 1:  # the first turn of each warms up
            best[turn % 2] = max(best[turn % 2], items / (time.perf_counter() - start))
    return best[0], best[1]


def official_forward(network: Tall) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the forward pass as the original writes it: resized up and down, attention by hand, biases gathered."""
    for module in network.modules():
        if isinstance(module, WindowAttention):
            module.__class__, module.fused_attn = WindowAttention, False

    def forward(clips: torch.Tensor) -> torch.Tensor:
        frames = ((clips - network.mean) / network.std).flatten(0, 1)
        grown = F.interpolate(frames, (224, 224), mode="bilinear")
        picture = F.interpolate(tile(grown, len(clips), 2, 2), (224, 224), mode="bilinear")
        tokens = network.swin.patch_embed(picture)
        tokens = network.swin.layers(tokens + network.frame_embedding[:, network.owner])
        return network.head(network.swin.norm(tokens).mean((1, 2)))

    return forward


def done(logits: torch.Tensor) -> int:
    """Wait for the device and return how many rows it finished."""
    if logits.is_cuda:
        torch.cuda.synchronize()
    return len(logits)


def backward(logits: torch.Tensor) -> int:
    """Run the backward pass."""
    logits.sum().backward()
    return done(logits)


def head_video(path: Path, size: tuple[int, int], frames: int) -> Path:
    """Write a video of one drawn head."""
    random = np.random.default_rng(0)
    person, scene = draw_identity(random), draw_scene(random)
    motion = draw_motion(random, frames, scene.size)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        for i in range(frames):
            picture = cv2.resize(compose(scene, draw_face(person, motion, i), motion, i), size)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


BENCHES = {**bench_preprocess.BENCHES, "loader": loader, "train": train, "tall": tall, "evaluate": evaluation}


def main() -> None:
    """Run the chosen benches and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benches", nargs="*", choices=[*BENCHES, []], help="which (default: all)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    table = Table(title=f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for name in ("bench", "what", "ours", "floor", "share", "floor is"):
        table.add_column(name, justify="right" if name in ("ours", "floor", "share") else "left")
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.benches or BENCHES:
            for f in BENCHES[name](Path(folder)):
                table.add_row(
                    name, f.name, f"{f.ours:,.3g} {f.unit}", f"{f.floor:,.3g}", f"{f.ours / f.floor:.0%}", f.against
                )
                figures.append({"bench": name, **f._asdict()})
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
