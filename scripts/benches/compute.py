"""Steps and passes of networks against what a large matrix product reaches on the same device."""

import copy
import functools
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from timm.models.swin_transformer import WindowAttention
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from benches.figure import Figure, missing, race
from benches.growth import make_files, synthetic
from dfd.core.manifest import Manifest
from dfd.data.datamodule import FaceDataModule
from dfd.models.base import Detector
from dfd.models.hybrid import Hybrid
from dfd.models.image import ImageDetector
from dfd.models.meso import MesoInception4
from dfd.models.tall import Tall, tile
from dfd.training.classification import Classification
from dfd.training.profile import StepProfiler, flop_counter

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
MATMUL = "its FLOPs at a matrix product's rate"


def train(folder: Path) -> Iterable[Figure]:
    """A step (forward, backward, AdamW); a whole TALL-micro training step with its loader; two processes."""
    for name, network, pixels in small_networks(16):
        step = stepping(network, pixels)
        yield Figure(f"a step of {name}", *beside_matmul(step, len(pixels)), f"{kind(network)}/s", MATMUL)
    profile = profiled(folder)
    if profile is not None:
        rate = 32 / profile.step
        yield Figure(
            "TALL-micro trained from crops", rate, rate / (1 - profile.waiting), "clips/s", "no wait for data", 0.9
        )
        yield Figure("TALL-micro trained from crops", rate, rate / profile.mfu, "clips/s", MATMUL)
    one, two = (processes(folder, count) for count in (1, 2))
    yield Figure("TALL-micro, two processes of one thread", two, one, "clips/s", "one process of one thread")


def infer(folder: Path) -> Iterable[Figure]:
    """Forward passes."""
    for name, network, pixels in small_networks(16):
        network.eval()
        work = functools.partial(answer, network, pixels)
        yield Figure(f"a pass of {name}", *beside_matmul(work, len(pixels)), f"{kind(network)}/s", MATMUL)


def tall(folder: Path) -> Iterable[Figure]:
    """TALL on Swin-B against a transcription of the official forward, same weights; large networks on CUDA."""
    yield from transcribed()
    yield from large()


def transcribed() -> Iterable[Figure]:
    """TALL on Swin-B, ours and as the original writes it."""
    clips = torch.rand(64 if CUDA else 2, 4, 3, 112, 112, device=DEVICE)
    ours = Tall(pretrained=False, drop_path=0.0).to(DEVICE).eval()
    plain = official_forward(copy.deepcopy(ours))
    with torch.inference_mode():
        expected = plain(clips)
        differences = [(work(clips).logits - expected).abs().max().item() for work in (ours, halved(ours))]
    modes: list[tuple[str, Callable[[Tensor], int]]] = [("inference", done), ("forward and backward", backward)]
    for name, end in modes:
        ours.train(end is backward)
        with torch.set_grad_enabled(end is backward):
            rates = race(
                {
                    "ours": lambda end=end: end(ours(clips).logits),
                    "bf16": lambda end=end: end(halved(ours)(clips).logits),
                    "theirs": lambda end=end: end(plain(clips)),
                }
            )
        for how, key, off in zip(("", ", bf16"), ("ours", "bf16"), differences, strict=True):
            against = f"transcription in fp32 (logits differ by {off:.0e})"
            aim = (2.0 if CUDA else 1.5) if key == "bf16" else None
            yield Figure(f"TALL Swin-B, {name}{how}", rates[key], rates["theirs"], "clips/s", against, aim)


def halved(network: Detector) -> Callable[[Tensor], Any]:
    """Return a network that computes in bf16 where that is safe."""

    def forward(pixels: Tensor) -> Any:
        with torch.autocast(DEVICE.type, torch.bfloat16):
            return network(pixels)

    return forward


def large() -> Iterable[Figure]:
    """A step of what needs a GPU, in bf16: rate, memory, MFU."""
    builders: dict[str, tuple[Callable[[], Detector], int]] = {
        "TALL Swin-B": (lambda: Tall(pretrained=False), 64),
        "hybrid of B7 and ViT-L": (lambda: Hybrid(pretrained=False), 12),
    }
    for name, (make, count) in builders.items():
        if not CUDA:
            yield missing(f"a step of {name}, bf16: rate, memory, MFU")
            continue
        torch.cuda.reset_peak_memory_stats()
        network = make().to(DEVICE).train()
        spec = network.input
        shape = (3, spec.size, spec.size) if spec.kind == "image" else (spec.frames, 3, spec.size, spec.size)
        step = stepping(network, torch.rand(count, *shape, device=DEVICE), torch.bfloat16)
        cost = flops(step) / count
        for how, compiled in (("bf16", False), ("bf16, compiled", True)):
            if compiled:
                network.compile()
            rates = beside_matmul(step, count, torch.bfloat16, cost)
            yield Figure(f"a step of {name}, {how}", *rates, f"{kind(network)}/s", MATMUL)
        yield Figure(f"memory of {name}, {count} views", torch.cuda.max_memory_allocated() / 2**30, np.nan, "GiB", "")


def small_networks(count: int) -> Iterable[tuple[str, Detector, Tensor]]:
    """Yield networks that a CPU trains, with a batch of pixels."""
    yield "MesoInception-4, 128 px", MesoInception4(128).to(DEVICE), torch.rand(count, 3, 128, 128, device=DEVICE)
    image = ImageDetector("tf_efficientnet_b0", pretrained=False, size=128).to(DEVICE)
    yield "EfficientNet-B0, 128 px", image, torch.rand(count, 3, 128, 128, device=DEVICE)
    yield "TALL-micro", micro(), torch.rand(count, 4, 3, 112, 112, device=DEVICE)


def micro() -> Tall:
    """Return the TALL that learns on the sample."""
    return Tall("micro", pretrained=False, resize="none", clips=2).to(DEVICE)


def kind(network: Detector) -> str:
    """Return what a row of its input is."""
    return "images" if network.input.kind == "image" else "clips"


def stepping(network: nn.Module, pixels: Tensor, dtype: torch.dtype | None = None) -> Callable[[], int]:
    """Return a step of training on one batch."""
    optimizer = torch.optim.AdamW(network.parameters(), fused=CUDA)
    label = torch.arange(len(pixels), device=pixels.device) % 2

    def step() -> int:
        optimizer.zero_grad()
        with torch.autocast(pixels.device.type, dtype, enabled=dtype is not None):
            logits = network(pixels).logits
        logits = logits if logits.shape[1] == 2 else torch.cat([torch.zeros_like(logits), logits], 1)
        F.cross_entropy(logits.float(), label).backward()
        optimizer.step()
        return done(logits)

    return step


def beside_matmul(
    work: Callable[[], int], rows: int, dtype: torch.dtype = torch.float32, cost: float | None = None
) -> tuple[float, float]:
    """Return the rows per second of some work, and of its FLOPs (a row's `cost`) in a matrix product, taking turns."""
    side = 8192 if CUDA else 1024
    a, b = (torch.randn(side, side, device=DEVICE, dtype=dtype) for _ in range(2))
    rates = race({"work": work, "product": lambda: len(a) * done(a @ b)})  # multiplied out: side ** 2
    return rates["work"], 2 * side * rates["product"] / (cost or flops(work) / rows)


def flops(work: Callable[[], int]) -> float:
    """Return the FLOPs of some work."""
    with flop_counter() as counter:
        work()
    return float(counter.get_total_flops())


def profiled(folder: Path) -> Any:
    """Train TALL-micro from containers of crops as train.py does, and return the profile of a step."""
    make_files(folder, 256)
    network = micro()
    data = FaceDataModule(Manifest(tuple(synthetic(2000)), folder), network.input, batch_size=16, visits=1)
    profiler = StepProfiler(str(folder / "profile"), warmup=3, steps=10, traced=0)
    trainer = pl.Trainer(
        accelerator=DEVICE.type, devices=1, max_steps=profiler.end, limit_val_batches=0, profiler=profiler,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, default_root_dir=folder,
    )  # fmt: skip
    optimizer = functools.partial(torch.optim.AdamW, lr=1e-3)
    trainer.fit(Classification(network, optimizer, level="video"), datamodule=data)
    return profiler.result


def processes(folder: Path, count: int) -> float:
    """Return the clips per second of TALL-micro in some processes of one thread each, gradients averaged by gloo."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(_member, (count, port, folder), nprocs=count, start_method="spawn")
    return sum(float((folder / f"rate{rank}").read_text()) for rank in range(count))


def _member(rank: int, count: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=count)
    torch.manual_seed(0)
    network = DistributedDataParallel(Tall("micro", pretrained=False, resize="none"))
    step = stepping(network, torch.rand(8, 4, 3, 112, 112))
    step()
    start = time.perf_counter()
    clips = sum(step() for _ in range(4))
    (folder / f"rate{rank}").write_text(str(clips / (time.perf_counter() - start)))
    dist.destroy_process_group()


def official_forward(network: Tall) -> Callable[[Tensor], Tensor]:
    """Return the forward pass as the original writes it: resized up and down, attention by hand, biases gathered."""
    for module in network.modules():
        if isinstance(module, WindowAttention):
            module.__class__, module.fused_attn = WindowAttention, False

    def forward(clips: Tensor) -> Tensor:
        frames = ((clips - network.mean) / network.std).flatten(0, 1)
        grown = F.interpolate(frames, (224, 224), mode="bilinear")
        picture = F.interpolate(tile(grown, len(clips), 2, 2), (224, 224), mode="bilinear")
        tokens = network.swin.patch_embed(picture)
        tokens = network.swin.layers(tokens + network.frame_embedding[:, network.owner])
        return network.head(network.swin.norm(tokens).mean((1, 2)))

    return forward


def done(logits: Tensor) -> int:
    """Wait for the device and return how many rows it finished."""
    if logits.is_cuda:
        torch.cuda.synchronize()
    return len(logits)


@torch.inference_mode()
def answer(network: Detector, pixels: Tensor) -> int:
    """Run a forward pass."""
    return done(network(pixels).logits)


def backward(logits: Tensor) -> int:
    """Run the backward pass."""
    logits.sum().backward()
    return done(logits)
