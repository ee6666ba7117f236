"""One run on one split of one dataset, scored and reported as its kind of network is."""

import importlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

from dfd.core.build import allowed, build
from dfd.core.errors import DfdError
from dfd.data.corrupt import strength
from dfd.evaluation.protocol import Protocol
from dfd.models.checkpoint import Loaded
from dfd.preprocess.dataset import Prepared
from dfd.training.device_errors import check_device

# by the kind of a network's input: a module with `evaluate(task) -> Evaluated | None`
EVALUATORS = {
    "image": "dfd.runs.evaluate_views",
    "clip": "dfd.runs.evaluate_views",
    "talk": "dfd.runs.evaluate_talk",
    "sequence": "dfd.runs.evaluate_segments",
    "pair": "dfd.runs.evaluate_pairs",
}


@dataclass(frozen=True)
class Task:
    """What is evaluated, how, and where the report goes.

    Args:
        loaded: the run's network and card.
        data: the datamodule of the dataset.
        prepared: its manifest, what could not be used, and notes.
        split: the split that is scored.
        eval: the protocol, as the plain `eval` node.
        trainer: the plain `trainer` node: device, precision, processes.
        facts: what the report says of run and data.
        folder: of the report.
        run: the run folder, which keeps operating points and the log of test accesses; None keeps nothing.
        validates: whether this split decides the run's operating point.
        options: more of the command's values: corruption, oracle, ...
    """

    loaded: Loaded
    data: Any
    prepared: Prepared
    split: str
    eval: Mapping[str, Any]
    trainer: Mapping[str, Any]
    facts: Mapping[str, Any]
    folder: Path
    run: Path | None
    validates: bool = False
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Evaluated:
    """Where a report lies, and its headline: the value that sweeps compare."""

    folder: Path
    value: float


class Evaluator(Interface):
    """A module that evaluates one kind of network."""

    def evaluate(self, task: Task) -> Evaluated | None:
        """Score the split and, in the first process, report it; None in the others."""

    def validate(self, task: Task) -> None:
        """Score the validation split after training and store what it decides with the run."""


def evaluator_of(kind: str) -> Evaluator:
    """Return the evaluator of networks of one kind of input."""
    if kind not in EVALUATORS:
        raise DfdError(f"nothing evaluates networks that take {kind!r}; there are {', '.join(sorted(EVALUATORS))}")
    return importlib.import_module(EVALUATORS[kind])


def evaluate_after_training(task: Task) -> Evaluated | None:
    """Let validation decide the operating point, then evaluate the test split."""
    evaluator = evaluator_of(task.loaded.network.input.kind)
    evaluator.validate(replace(task, split="val", validates=True))
    return evaluator.evaluate(task)


def check_evaluation(plain: Mapping[str, Any]) -> None:
    """Refuse a protocol that does not exist and a device that this machine lacks."""
    check_device(plain["trainer"])
    Protocol.of(plain["eval"])


def check_corruption(plain: Mapping[str, Any]) -> None:
    """Refuse corruptions that do not exist, and those that this trainer cannot score."""
    kinds, levels = plain["corruption"]["kinds"], plain["corruption"]["levels"]
    for kind, level in itertools.product(kinds, levels):
        strength(kind, level)
    if kinds and not levels:
        raise DfdError(f"corruption.kinds={list(kinds)}: say how strong, corruption.levels=[1,2,3,4,5]")
    if kinds and build(dict(plain["trainer"]), allowed(plain["plugins"]), "trainer", logger=False).world_size > 1:
        raise DfdError("corruption= is scored by one process: add trainer.devices=1")
