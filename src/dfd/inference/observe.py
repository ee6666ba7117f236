"""One pass of a detector over views leaves a feature bank: all that post-hoc scores need of the network."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dfd.core.bank import FeatureBank, Head
from dfd.core.records import Record
from dfd.core.tensors import Reconstructed
from dfd.inference.picture_statistics import statistics
from dfd.models.base import Detector

STEPS = (0.0005, 0.0014, 0.004)  # of ODIN, in units of a pixel between 0 and 1
TEMPERATURE = 1000.0
DRAWS = 10  # of dropout

Columns = dict[str, np.ndarray]


def observe(network: Detector, pixels: Tensor, wants: Collection[str] = (), others: Sequence[Detector] = ()) -> Columns:
    """Return what a network makes of a batch of views (N, ...): logits, features, score, and the extra columns.

    Columns that cost more (`odin`, `mc_dropout`, `pictures`) are made where they are wanted and possible.
    """
    base = network.answering()
    with torch.no_grad():
        output = base(pixels)
        columns = {"logits": pair(output.logits), "features": output.features, "score": base.score(output)}
        if isinstance(output, Reconstructed):
            columns["reconstruction"] = residual_map(output).flatten(1).mean(1)
            if output.confidence is not None:
                columns["confidence"] = output.confidence
        if base is not network:
            columns["abnormality"] = network(pixels).logits[:, 0]
        if "mc_dropout" in wants and (draws := _dropout(base, pixels, output.features)) is not None:
            columns["mc_dropout"] = draws
        if "pictures" in wants:
            columns["pictures"] = statistics(pixels)
        if others:
            members = [output.logits, *(other(pixels).logits for other in others)]
            columns["ensemble"] = torch.stack([pair(logits) for logits in members], 1)
    if "odin" in wants:
        columns["odin"] = _odin(base, pixels)
    return {name: values.detach().float().cpu().numpy() for name, values in columns.items()}


def collect(
    network: Detector,
    loader: DataLoader,
    records: Sequence[Record],
    source: Callable[[Record], str],
    wants: Collection[str] = (),
    others: Sequence[Detector] = (),
    advance: Callable[[], None] = lambda: None,
) -> FeatureBank:
    """Run a network over a loader of views of these records; `advance` is told of every batch."""
    device = network.mean.device
    columns: list[Columns] = []
    for batch in loader:
        pixels = network.pixels(batch["pixels"].to(device, non_blocking=True))
        about = {name: batch[name].numpy() for name in ("video", "t", "label")}
        columns.append(observe(network, pixels, wants, others) | about)
        advance()
    whole = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    seen = [records[number] for number in whole.pop("video")]
    return FeatureBank(
        logits=whole.pop("logits"),
        features=whole.pop("features"),
        label=whole.pop("label"),
        video=np.array([record.id for record in seen]),
        source=np.array([source(record) for record in seen]),
        group=np.array([record.group for record in seen]),
        t=whole.pop("t"),
        extra=whole,
    )


def linear_head(network: Detector, width: int, tolerance: float = 1e-3) -> Head | None:
    """Return the last layer as numbers, by asking it; None if it is not linear in the features (N, width)."""
    base = network.answering()
    device = base.mean.device
    with torch.no_grad():
        bias = pair(base.forward_head(torch.zeros(1, width, device=device)))[0]
        eye = torch.eye(width, device=device)
        weight = torch.cat([pair(base.forward_head(part)) - bias for part in eye.split(1024)]).T
        probe = torch.randn(8, width, generator=torch.Generator().manual_seed(0)).to(device)
        expected = pair(base.forward_head(probe))
        if not torch.allclose(probe @ weight.T + bias, expected, rtol=tolerance, atol=tolerance):
            return None
    return Head(weight.cpu().double().numpy(), bias.cpu().double().numpy())


def pair(logits: Tensor) -> Tensor:
    """Return at least two columns: one logit z is the same softmax as (-z/2, z/2)."""
    return torch.cat([-logits, logits], 1) / 2 if logits.shape[1] == 1 else logits


def residual_map(output: Reconstructed) -> Tensor:
    """Return the squared error of every pixel, averaged over channels, (N, H, W)."""
    return (output.reconstruction.float() - output.target.float()).square().mean(1)


def _odin(network: Detector, pixels: Tensor) -> Tensor:
    """Return the logits (N, E, K) of views moved, by each step, to where their class is likelier."""
    with torch.enable_grad():
        moved = pixels.clone().requires_grad_()
        logits = pair(network.logits(moved)).float() / TEMPERATURE
        likelihood = -F.cross_entropy(logits, logits.argmax(1), reduction="sum")
        (gradient,) = torch.autograd.grad(likelihood, moved)
    with torch.no_grad():
        return torch.stack([pair(network.logits(pixels + step * gradient.sign())) for step in STEPS], 1)


def _dropout(network: Detector, pixels: Tensor, features: Tensor) -> Tensor | None:
    """Return the logits (N, DRAWS, K) under dropout; of the last layers alone where there is none before them."""
    layers = [m for m in network.modules() if isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0]
    if not layers:
        return None
    behind = set(getattr(network, "head", nn.Identity()).modules())
    with _drawing(layers):
        if behind.issuperset(layers):
            draws = [pair(network.forward_head(features)) for _ in range(DRAWS)]
        else:
            draws = [pair(network.logits(pixels)) for _ in range(DRAWS)]
    return torch.stack(draws, 1)


@contextmanager
def _drawing(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Let dropout drop, from a fixed seed and without touching the global one."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for layer in layers:
            layer.train()
        try:
            yield
        finally:
            for layer in layers:
                layer.eval()
