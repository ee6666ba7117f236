"""dfd-train: fit a model on a dataset, test its best checkpoint, report."""

import copy
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from dfd.cli import run_folders
from dfd.cli.app import command
from dfd.cli.invocation import Invocation
from dfd.cli.recipe import primary, write_recipe
from dfd.cli.sample_banner import banner, scale_down
from dfd.cli.sweeps.jobs import Pruned
from dfd.core.build import allowed, allowed_networks, build, check
from dfd.core.errors import DfdError
from dfd.metrics.direction import lower_is_better

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from dfd.inference.ood import IdOodData
    from dfd.preprocess.dataset import Prepared
    from dfd.runs.assembly import Plain, Training
    from dfd.runs.evaluation import Evaluated
    from dfd.training.pruning import PruningCallback

log = logging.getLogger("dfd")


def train(cfg: DictConfig, called: Invocation) -> float:
    """Train, test and report one run; return the value that a sweep optimises."""
    from dfd.core.run_folder import start_notes
    from dfd.preprocess.dataset import find_source, prepare_data
    from dfd.runs.assembly import assemble, checkpoint_to_resume, make_trainer
    from dfd.runs.ood_data import outliers_for
    from dfd.training.device_errors import explain_failures

    # compose
    source = find_source(OmegaConf.to_container(cfg.data), Path(cfg.paths.data_dir))  # type: ignore[arg-type]
    changed = scale_down(cfg, called) if source.sample and not cfg.run else {}
    if source.sample:
        log.warning(banner(cfg.data.title, source, changed))
    composed = copy.deepcopy(cfg)
    folder = run_folders.run_folder(cfg, f"{source.tag}_{cfg.model.name}", called)
    plain = _checked(cfg, folder)
    # prepare
    data_dir, allow = Path(plain["paths"]["data_dir"]), allowed(plain["plugins"])
    prepared = known = prepare_data(plain["data"], data_dir, allow)
    both = _id_and_ood(plain, data_dir, called)
    if plain["model"].get("outliers"):
        prepared = outliers_for(known, plain, data_dir, allow)
    resume = checkpoint_to_resume(plain, folder, prepared)
    # build, and only then leave a folder: a start that fails leaves none
    started = time.time()
    training = assemble(plain, prepared, known)
    watched = _watched(plain, called)
    trainer = make_trainer(plain, called.launcher, watched)
    text = run_folders.open_folder(folder, cfg)
    write_recipe(folder, composed, called)
    facts = _facts(plain, prepared, training, folder, called) | {"config": text, "scaled_down": changed}
    if trainer.is_global_zero:
        start_notes(folder, facts)
    # fit
    with explain_failures(folder, plain["data"]["loader"]["batch_size"]):
        history = _fit(trainer, training, resume)
    if watched is not None and watched.given_up:
        raise Pruned(_metric(history, trainer, plain["metric"]))
    # test and report
    if plain["test"] and prepared is known:
        trainer.strategy.barrier()  # the first process writes the checkpoint that all of them test
        _test(plain, prepared, folder, facts | {"history": history, "seconds": round(time.time() - started, 1)})
    if both is not None and trainer.is_global_zero:
        _report_ood(folder, both, plain, text)
    return _metric(history, trainer, plain["metric"])


def _checked(cfg: DictConfig, folder: Path) -> "Plain":
    """Fix what only this run knows, and return the configuration as plain values, if all of it can be built here."""
    from dfd.evaluation.protocol import Protocol
    from dfd.training.device_errors import check_device
    from dfd.training.teacher import check_teacher

    OmegaConf.update(cfg, "run_dir", str(folder))
    for key in ("data_dir", "output_dir"):
        OmegaConf.update(cfg, f"paths.{key}", str(Path(cfg.paths[key]).absolute()))
    plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    check_device(plain["trainer"])
    if not str(plain["metric"]).startswith(("val/", "train/")):
        raise DfdError(f"metric={plain['metric']}: logged numbers begin with val/ or train/, e.g. metric=val/auc")
    epochs = plain["trainer"].get("max_epochs")
    if isinstance(epochs, int) and epochs < 1 and epochs != -1:
        raise DfdError(f"trainer.max_epochs={epochs}: expected 1 or more (-1: until it is stopped)")
    check(plain, allowed(cfg.plugins))
    check_teacher(plain)
    Protocol.of(plain["eval"])
    return plain


def _watched(plain: "Plain", called: Invocation) -> "PruningCallback | None":
    """Return what reports to the search if this run is a trial of one."""
    from dfd.cli.sweeps.search import watch
    from dfd.training.pruning import PruningCallback

    if plain["hparams_search"]["trial"] is None or called.sweep is None:
        return None
    return PruningCallback(plain["metric"], watch(plain["hparams_search"], plain["metric"], called.sweep))


def _id_and_ood(plain: "Plain", data_dir: Path, called: Invocation) -> "IdOodData | None":
    """Return in- and out-of-distribution data, or None if no report on them was asked for or none can be made."""
    from dfd.runs.ood import chosen_detectors
    from dfd.runs.ood_data import id_and_ood

    if not plain["posthoc"] or not chosen_detectors(plain["posthoc"], plain["ood"]):
        return None
    try:
        return id_and_ood(plain["data"], data_dir, allowed(plain["plugins"]), called.values)
    except DfdError as error:
        if any(key.startswith("posthoc") for key in called.typed):
            raise
        log.warning("no out-of-distribution report at the end: %s", error)
        return None


def _facts(
    plain: "Plain", prepared: "Prepared", training: "Training", folder: Path, called: Invocation
) -> dict[str, Any]:
    from dfd.core.run_folder import compare_data
    from dfd.training.teacher import teacher_note

    if plain["run"]:
        compare_data(plain["run"], prepared.manifest.hash)
    notes = [*prepared.notes, *teacher_note(plain)]
    if plain["shuffle_labels"]:
        notes.append("trained on SHUFFLED labels")
    facts = run_folders.evaluation_facts(prepared, plain["data"]["title"], training.card, folder)
    return facts | {"overrides": list(called.overrides), "notes": notes}


def _test(plain: "Plain", prepared: "Prepared", folder: Path, facts: dict[str, Any]) -> "Evaluated | None":
    from dfd.models.checkpoint import load_network
    from dfd.runs.evaluation import Task, evaluate_after_training

    loaded = load_network(folder, allowed_networks(plain["plugins"]))
    data = build(plain["data"]["loader"], allowed(plain["plugins"]), "loader")(prepared.manifest, loaded.network.input)
    where = folder / "eval" / f"{prepared.source.tag}-test"
    facts = facts | {"checkpoint": str(loaded.path)}
    return evaluate_after_training(
        Task(loaded, data, prepared, "test", plain["eval"], plain["trainer"], facts, where, folder)
    )


def _report_ood(folder: Path, both: "IdOodData", plain: "Plain", text: str) -> None:
    from dfd.models.checkpoint import load_network
    from dfd.runs.ood import OodTask, report_ood

    report_ood(load_network(folder, allowed_networks(plain["plugins"])), both, OodTask.of(plain, text))


def _fit(trainer: "pl.Trainer", training: "Training", resume: Path | None) -> list[dict[str, float]]:
    """Train, from a checkpoint where there is one; return the numbers of every epoch."""
    from dfd.training.callbacks import History

    if resume is not None:
        log.info("resuming from %s", resume)
    path = None if resume is None else str(resume)
    trainer.fit(training.objective, datamodule=training.data, ckpt_path=path, weights_only=True)
    return next((callback.epochs for callback in trainer.callbacks if isinstance(callback, History)), [])  # type: ignore[attr-defined]


def _metric(history: list[dict[str, float]], trainer: "pl.Trainer", name: str) -> float:
    values = [epoch[name] for epoch in history if name in epoch]
    if not values and name in trainer.callback_metrics:
        values = [float(trainer.callback_metrics[name])]
    if not values:
        raise DfdError(f"metric={name} was never logged; logged are {', '.join(sorted(trainer.callback_metrics))}")
    return min(values) if lower_is_better(name) else max(values)


main = command("train", train, primary)

if __name__ == "__main__":
    main()
