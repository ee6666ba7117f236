"""One run on one split of one dataset, scored and reported as its kind of network is."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from dfd.core.errors import DfdError
from dfd.models.checkpoint import Loaded
from dfd.preprocess.dataset import Prepared

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


class Evaluator(Protocol):
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
