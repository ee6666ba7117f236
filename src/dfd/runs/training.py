"""A training run, step by step: settings checked, fitted, tested, and what it does not know reported."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from dfd.core.build import TARGET, allowed, allowed_networks, build, check, locate
from dfd.core.errors import DfdError
from dfd.core.run_folder import compare_data
from dfd.evaluation.protocol import Protocol
from dfd.inference.ood import IdOodData
from dfd.metrics.direction import lower_is_better
from dfd.models.checkpoint import load_network
from dfd.preprocess.dataset import Prepared
from dfd.runs.assembly import Plain, Training
from dfd.runs.evaluation import Evaluated, Task, evaluate_after_training
from dfd.runs.ood import OodTask, chosen_detectors, report_ood
from dfd.runs.ood_data import id_and_ood
from dfd.training.callbacks import History
from dfd.training.device_errors import check_device
from dfd.training.teacher import check_teacher, teacher_note

log = logging.getLogger("dfd")


def check_settings(plain: Plain) -> None:
    """Refuse a configuration that cannot work, before anything is prepared or built."""
    check_device(plain["trainer"])
    if not str(plain["metric"]).startswith(("val/", "train/")):
        raise DfdError(f"metric={plain['metric']}: logged numbers begin with val/ or train/, e.g. metric=val/auc")
    epochs = plain["trainer"].get("max_epochs")
    if isinstance(epochs, int) and epochs < 1 and epochs != -1:
        raise DfdError(f"trainer.max_epochs={epochs}: expected 1 or more (-1: until it is stopped)")
    check(plain, allowed(plain["plugins"]))
    _check_kinds(plain)
    check_teacher(plain)
    Protocol.of(plain["eval"])


def _check_kinds(plain: Plain) -> None:
    """Refuse a dataset whose loader cannot show what the network takes, before anything is downloaded or rendered."""
    allow = allowed(plain["plugins"])
    network = locate(plain["model"]["network"][TARGET], allowed_networks(plain["plugins"]), "network")
    loader = locate(plain["data"]["loader"][TARGET], allow, "loader")
    takes, gives = getattr(network, "kinds", ()), getattr(loader, "kinds", ())
    if takes and gives and not set(takes) & set(gives):
        raise DfdError(
            f"model={plain['model']['name']} takes {' or '.join(takes)}, data={plain['data']['name']} gives "
            f"{' or '.join(gives)}: choose another data= or model= (docs/README.md says which belong together)"
        )


def id_and_ood_data(plain: Plain, values: Mapping[str, Any]) -> IdOodData | None:
    """Return in- and out-of-distribution data, or None if no report on them was asked for or none can be made.

    `values` are those that the user typed, by key.
    """
    if not plain["posthoc"] or not chosen_detectors(plain["posthoc"], plain["ood"]):
        return None
    try:
        return id_and_ood(plain["data"], Path(plain["paths"]["data_dir"]), allowed(plain["plugins"]), values)
    except DfdError as error:
        if any(key.startswith("posthoc") for key in values):
            raise
        log.warning("no out-of-distribution report at the end: %s", error)
        return None


def training_notes(plain: Plain, prepared: Prepared) -> list[str]:
    """Return what every report of the run must say of its data and its teacher."""
    if plain["run"]:
        compare_data(plain["run"], prepared.manifest.hash)
    shuffled = ["trained on SHUFFLED labels"] if plain["shuffle_labels"] else []
    return [*prepared.notes, *teacher_note(plain), *shuffled]


def fit(trainer: pl.Trainer, training: Training, resume: Path | None) -> list[dict[str, float]]:
    """Train, from a checkpoint where there is one; return the numbers of every epoch."""
    if resume is not None:
        log.info("resuming from %s", resume)
    path = None if resume is None else str(resume)
    trainer.fit(training.objective, datamodule=training.data, ckpt_path=path, weights_only=True)
    return next((callback.epochs for callback in trainer.callbacks if isinstance(callback, History)), [])  # type: ignore[attr-defined]


def test(plain: Plain, prepared: Prepared, folder: Path, facts: dict[str, Any]) -> Evaluated | None:
    """Evaluate the best checkpoint of a run on the test split."""
    loaded = load_network(folder, allowed_networks(plain["plugins"]))
    data = build(plain["data"]["loader"], allowed(plain["plugins"]), "loader")(prepared.manifest, loaded.network.input)
    where = folder / "eval" / f"{prepared.source.tag}-test"
    facts = facts | {"checkpoint": str(loaded.path)}
    return evaluate_after_training(
        Task(loaded, data, prepared, "test", plain["eval"], plain["trainer"], facts, where, folder)
    )


def report_unknown(folder: Path, both: IdOodData, plain: Plain, text: str) -> None:
    """Evaluate the out-of-distribution detectors of a run; `text` is its configuration as YAML."""
    report_ood(load_network(folder, allowed_networks(plain["plugins"])), both, OodTask.of(plain, text))


def best_value(history: Sequence[dict[str, float]], trainer: pl.Trainer, name: str) -> float:
    """Return the best value of a logged number over the epochs."""
    values = [epoch[name] for epoch in history if name in epoch]
    if not values and name in trainer.callback_metrics:
        values = [float(trainer.callback_metrics[name])]
    if not values:
        raise DfdError(f"metric={name} was never logged; logged are {', '.join(sorted(trainer.callback_metrics))}")
    return min(values) if lower_is_better(name) else max(values)
