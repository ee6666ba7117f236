"""Where the time of training steps goes, as a profiler of Lightning's: a trace and a page of numbers."""

import io
import json
import logging
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pytorch_lightning.profilers import Profiler
from rich.console import Console
from rich.table import Table
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dfd.core.memory import peak_bytes

log = logging.getLogger(__name__)

WAIT, STEP = "train_dataloader_next", "run_training_batch"
PHASES = {
    WAIT: "data wait",
    "batch_to_device": "to the device",
    "training_step": "forward",
    "backward": "backward",
    "optimizer_step": "optimiser",  # Lightning's hook holds forward and backward too: they are taken off
}
ENOUGH = 0.1  # of a step may be spent waiting for data


class Profile(NamedTuple):
    """Seconds of a step by phase, and what they stand against; `flops` of forward and backward, 0 if not counted."""

    phases: dict[str, float]
    step: float
    steps: int
    flops: float
    peak: float
    memory: float
    device: str
    precision: str

    @property
    def mfu(self) -> float:
        """Model FLOPs utilisation: the share of a large matrix product's rate."""
        return self.flops / (self.step * self.peak)

    @property
    def waiting(self) -> float:
        """The share of a step in which the device waits for data."""
        return self.phases[PHASES[WAIT]] / self.step


class StepProfiler(Profiler):
    """Times `steps` training steps after `warmup` ones, counts the FLOPs of one more, and traces `traced` more.

    On CUDA every phase waits for the device: the phases are then true and a step is a little slower than it would be.
    """

    def __init__(
        self, folder: str, precision: str = "32-true", warmup: int = 5, steps: int = 20, traced: int = 2
    ) -> None:
        super().__init__(dirpath=folder)
        self.folder, self.precision = Path(folder), precision
        self.first, self.last, self.end = warmup, warmup + steps, warmup + steps + 1 + traced
        self.done = 0  # steps
        self.result: Profile | None = None
        self._seconds: dict[str, float] = defaultdict(float)
        self._started: dict[str, float] = {}
        self._timed = [0.0, 0.0]
        self._around = ExitStack()
        self._flops = 0.0

    def start(self, action_name: str) -> None:
        """Note when an action that matters begins."""
        action = _short(action_name)
        if action == WAIT and self.done in (self.first, self.last):
            self._timed[self.done == self.last] = _now()
        if action == STEP:
            self._look_closer()
        if action in PHASES and self.first <= self.done < self.last:
            self._started[action] = _now()

    def stop(self, action_name: str) -> None:
        """Add what it took."""
        action = _short(action_name)
        if action in self._started:
            self._seconds[PHASES[action]] += _now() - self._started.pop(action)
        if action == STEP:
            self.done += 1
            if self.done in (self.last + 1, self.end):
                self._around.close()

    def describe(self) -> None:
        """Write the page, as a table and as JSON, and say where it is."""
        if self.done < self.end:
            log.warning(
                "the run ended after %d of the %d steps that a profile needs: nothing written", self.done, self.end
            )
        elif self._local_rank in (None, 0) and self.result is None:
            self.result = self._summed_up()
            self.folder.mkdir(parents=True, exist_ok=True)
            page = summary_page(self.result)
            (self.folder / "summary.txt").write_text(page, encoding="utf-8")
            facts = self.result._asdict() | {"mfu": self.result.mfu, "waiting": self.result.waiting}
            (self.folder / "summary.json").write_text(json.dumps(facts, indent=2))
            log.info("%s\ntrace for ui.perfetto.dev or chrome://tracing: %s", page, self.folder / "trace.json")

    def _look_closer(self) -> None:
        if self.done == self.last:
            counter = self._around.enter_context(flop_counter())
            self._around.callback(lambda: setattr(self, "_flops", float(counter.get_total_flops())))
        elif self.done == self.last + 1 and self._local_rank in (None, 0):
            self.folder.mkdir(parents=True, exist_ok=True)
            tracer = torch.profiler.profile(profile_memory=True, record_shapes=True)
            self._around.callback(tracer.export_chrome_trace, str(self.folder / "trace.json"))  # after it has ended
            self._around.enter_context(tracer)

    def _summed_up(self) -> Profile:
        steps = self.last - self.first
        phases = {name: self._seconds[name] / steps for name in PHASES.values()}
        phases["optimiser"] = max(0.0, phases["optimiser"] - phases["forward"] - phases["backward"])
        step = (self._timed[1] - self._timed[0]) / steps
        phases["the rest"] = max(0.0, step - sum(phases.values()))
        device = torch.device("cuda" if torch.cuda.is_initialized() else "cpu")
        peak = matmul_rate(device, {"bf": torch.bfloat16, "16": torch.float16}.get(self.precision[:2], torch.float32))
        name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
        return Profile(phases, step, steps, self._flops, peak, peak_memory(device), name, self.precision)


@contextmanager
def flop_counter() -> Iterator[FlopCounterMode]:
    """Count FLOPs, the same on every device and version of torch.

    torch's counter does not see every fused attention (none on CPUs since 2.14), so attention runs as the matrix
    products that it is; and it takes a depthwise convolution's backward pass for that of a full one.
    """
    mapping = {torch.ops.aten.convolution_backward: _convolution_backward}
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        yield counter


def _convolution_backward(
    grad: Sequence[int], pixels: Sequence[int], weight: Sequence[int], *others: Any, **unused: Any
) -> int:
    """Return the cost of as many forward passes as gradients are asked for, by shapes."""
    transposed, output_mask = others[4], others[7]
    places = pixels if transposed else grad
    return 2 * math.prod(weight) * places[0] * math.prod(places[2:]) * sum(output_mask[:2])


def matmul_rate(device: torch.device, dtype: torch.dtype = torch.float32, seconds: float = 1.0) -> float:
    """Return the FLOPs per second of a large matrix product: the most that a network can get."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or best == float("inf"):
        start = _now()
        a @ b
        best = min(best, _now() - start)
    return 2 * side**3 / best


def peak_memory(device: torch.device) -> float:
    """Return the most bytes that were taken so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return peak_bytes()


def summary_page(profile: Profile) -> str:
    """Return the page that a person reads."""
    table = Table()
    for name, justify in (("phase", "left"), ("ms", "right"), ("share", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name, seconds in (profile.phases | {"a step": profile.step}).items():
        table.add_row(name, f"{1e3 * seconds:,.1f}", f"{seconds / profile.step:.1%}")
    page = io.StringIO()
    console = Console(file=page, width=100)
    console.print(
        f"a step of training, mean of {profile.steps}: {profile.device}, {profile.precision}", highlight=False
    )
    console.print(table)
    counted = f"{profile.flops / 1e9:,.1f} GFLOP a step" if profile.flops else "FLOPs not counted (compiled)"
    console.print(f"{counted}, {profile.flops / profile.step / 1e9:,.1f} GFLOP/s", highlight=False)
    console.print(f"MFU {profile.mfu:.1%} of a matrix product's {profile.peak / 1e9:,.1f} GFLOP/s", highlight=False)
    console.print(f"memory {profile.memory / 2**20:,.0f} MiB at the peak", highlight=False)
    if profile.waiting > ENOUGH:
        advice = "raise data.loader.workers, store smaller crops (data.crops.size), or augment less"
        console.print(f"the device waits {profile.waiting:.0%} of the time: {advice}", highlight=False, soft_wrap=True)
    return page.getvalue()


def _short(action_name: str) -> str:
    return (
        action_name.rpartition(".")[2]
        if action_name.startswith(("[Strategy]", "[LightningModule]", "[_"))
        else action_name
    )


def _now() -> float:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()
