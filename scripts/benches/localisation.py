"""Localisers: forward passes at the paper's size, decoding against a loop over single candidates, and the metrics."""

import math
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benches.figure import Figure, race
from dfd.metrics.proposals import Candidates, Decoding, decode
from dfd.metrics.segments import PROTOCOLS, Spans, overlaps, scorer
from dfd.models.localisation.actionformer import ActionFormer
from dfd.models.localisation.layers import Steps, local_attention
from dfd.models.localisation.ummaformer import UMMAFormer

LAVDF = 26_100  # files of its test split, 100 proposals each
SECONDS = 10.0  # that all protocols may take for them


def localisation(folder: Path) -> Iterable[Figure]:
    """UMMAFormer and ActionFormer at T = 768, local attention, soft-NMS and AP over LAV-DF's test, one core."""
    torch.set_num_threads(1)
    streams = (("tsn_rgb", 2048, 25.0), ("tsn_flow", 2048, 25.0), ("byola", 2048, 12.5))
    shown = {name: torch.randn(1, width, 768) for name, width, _ in streams}
    mask = torch.ones(1, 768, dtype=torch.bool)
    networks = {"ummaformer": UMMAFormer(streams, paper_compat=True), "actionformer": ActionFormer(streams)}
    works = {name: lambda network=network: forward(network, shown, mask) for name, network in networks.items()}
    rates = race(works)
    for name, rate in rates.items():
        yield Figure(f"{name}, T=768", rate, math.nan, "files/s", "no floor")
    q = torch.randn(4, 768, 4, 64)
    steps = Steps(torch.ones(4, 768, dtype=torch.bool))
    rates = race({"local": lambda: attend(q, steps), "dense": lambda: dense(q)})
    yield Figure("local attention, window 7", rates["local"], rates["dense"], "files/s", "dense with a mask", 1.0)
    candidates = crowded(8)
    rates = race({"batch": lambda: len(decode(candidates, Decoding())), "loop": lambda: one_by_one(candidates)}, 1)
    yield Figure("soft-NMS and voting", rates["batch"], rates["loop"], "files/s", "a loop over candidates", 3.0)
    proposals, truth = lavdf()
    begin = time.perf_counter()
    found = overlaps(proposals, truth, LAVDF)
    for protocol in PROTOCOLS:
        scorer(found, protocol)(None)
    rate = 1 / (time.perf_counter() - begin)
    yield Figure("2.6 million proposals, all protocols", rate, 1 / SECONDS, "runs/s", f"{SECONDS:g} s", 1.0)


@torch.no_grad()
def forward(network: torch.nn.Module, shown: dict[str, Tensor], mask: Tensor) -> int:
    """Run a network on one file."""
    network.eval()(shown, mask)
    return 1


@torch.no_grad()
def attend(q: Tensor, steps: Steps) -> int:
    """Attend to three steps on both sides."""
    local_attention(q, q, q, steps, 3)
    return len(q)


@torch.no_grad()
def dense(q: Tensor) -> int:
    """Attend to all steps through a mask."""
    place = torch.arange(q.shape[1])
    near = (place[:, None] - place).abs() <= 3
    part = q.transpose(1, 2)
    torch.nn.functional.scaled_dot_product_attention(part, part, part, attn_mask=near)
    return len(q)


def crowded(files: int) -> Candidates:
    """Candidates at every point of a pyramid over 8.6 s, most of them weak."""
    random = np.random.default_rng(0)
    place = np.concatenate([np.arange(0, 768, 2**level) for level in range(6)]) * 8.6 / 768
    reach = np.concatenate([np.full(768 >> level, 0.1 * 2**level) for level in range(6)])
    ends = [place + side * reach * random.uniform(0.5, 1.5, (files, len(place))) for side in (-1, 1)]
    middle = random.uniform(0, 8, (files, 1))
    scores = np.maximum(random.uniform(0, 0.1, (files, len(place))) ** 2, np.exp(-(((place - middle) / 0.3) ** 2)))
    return Candidates(np.stack(ends, -1).astype(np.float32), scores.astype(np.float32))


def one_by_one(candidates: Candidates, how: Decoding | None = None) -> int:
    """Pick and score down one candidate after the other, in NumPy per file, as the originals do in C++."""
    how = how or Decoding()
    for segments, scores in zip(*candidates):
        left = scores.astype(float)
        for _ in range(len(left)):  # the originals go on to the last candidate
            best = int(left.argmax())
            if left[best] < how.min_score:
                break
            low, high = segments[best]
            left[best] = 0
            for place in np.flatnonzero(left):
                shared = max(0.0, min(high, segments[place, 1]) - max(low, segments[place, 0]))
                overlap = shared / (high - low + segments[place, 1] - segments[place, 0] - shared)
                left[place] *= math.exp(-(overlap**2) / how.sigma)
            if (left == 0).all():
                break
            if best and (left > 0).sum() < len(left) - how.limit:
                break
    return len(candidates.scores)


def lavdf() -> tuple[Spans, Spans]:
    """As many proposals and true segments as LAV-DF's test has."""
    random = np.random.default_rng(0)
    forged = np.where(random.random(LAVDF) > 0.27, random.integers(1, 3, LAVDF), 0)
    owner = np.repeat(np.arange(LAVDF), forged)
    begin = random.uniform(0, 8, len(owner))
    truth = Spans(owner, begin, begin + random.uniform(0.2, 1.1, len(owner)))
    clip = np.repeat(np.arange(LAVDF), 100)
    start = random.uniform(0, 8, len(clip))
    return Spans(clip, start, start + random.uniform(0.1, 2, len(clip)), random.random(len(clip))), truth
