"""dfd-train: fit a model on a dataset, test its best checkpoint, report."""

import copy
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from dfd.cli import runs
from dfd.cli.app import command, in_sweep
from dfd.cli.recipe import primary, write_recipe
from dfd.cli.sample_banner import banner, scale_down
from dfd.cli.sweeps.jobs import Pruned
from dfd.cli.sweeps.search import lower_is_better, watch
from dfd.core.build import allowed, allowed_networks, build, check
from dfd.core.errors import DfdError
from dfd.core.records import FAKE
from dfd.preprocess.dataset import Prepared, find_source, prepare_data, shuffled

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from dfd.core.card import Looking
    from dfd.core.records import Record
    from dfd.data.datamodule import FaceDataModule
    from dfd.inference.ood import IdOodData
    from dfd.training.objective import Objective
    from dfd.training.pruning import Watched

log = logging.getLogger("dfd")


def train(cfg: DictConfig) -> float:
    """Train, test and report one run; return the value that a sweep optimises."""
    from dfd.cli.ood import report_ood
    from dfd.cli.ood_data import outliers_for
    from dfd.core.run_folder import start_notes
    from dfd.models.checkpoint import load_network
    from dfd.training.device_errors import explain_failures

    source = find_source(OmegaConf.to_container(cfg.data), Path(cfg.paths.data_dir))  # type: ignore[arg-type]
    changed = scale_down(cfg) if source.sample and not cfg.run else {}
    if source.sample:
        log.warning(banner(cfg.data.title, source, changed))
    folder = runs.run_folder(cfg, f"{source.tag}_{cfg.model.name}")
    recipe = copy.deepcopy(cfg)
    plain, allow = _checked(cfg, folder), allowed(cfg.plugins)
    data_dir = Path(cfg.paths.data_dir)
    prepared = known = prepare_data(plain["data"], data_dir, allow)
    sides = _sides(cfg, plain, data_dir, allow)
    if plain["model"].get("outliers"):
        prepared = outliers_for(known, plain, data_dir, allow)
    resume = _resumed(cfg.ckpt_path, folder, plain, prepared)
    text = _open_folder(folder, cfg, recipe, known)
    started = time.time()
    data, objective = _assemble(plain, prepared, known, allow)
    trainer, watched = _trainer(cfg, plain, allow)
    facts = _facts(plain, prepared, objective, text, folder) | {"scaled_down": changed}
    if trainer.is_global_zero:
        start_notes(folder, facts)
    with explain_failures(folder, plain["data"]["loader"]["batch_size"]):
        if resume is not None:
            log.info("going on from %s", resume)
        trainer.fit(objective, datamodule=data, ckpt_path=None if resume is None else str(resume), weights_only=True)
    history = _history(trainer)
    if watched is not None and watched.given_up:
        raise Pruned(_metric(history, trainer, cfg.metric))
    if cfg.test and prepared is known:
        trainer.strategy.barrier()  # the first process writes the checkpoint that all of them test
        _test(trainer, plain, prepared, folder, facts | {"history": history}, started)
    if sides is not None and trainer.is_global_zero:
        report_ood(load_network(folder, allowed_networks(cfg.plugins)), sides, cfg)
    return _metric(history, trainer, cfg.metric)


def _sides(cfg: DictConfig, plain: dict[str, Any], data_dir: Path, allow: tuple[str, ...]) -> "IdOodData | None":
    """Return what is known and what is strange where a report on that is wanted and there is something strange."""
    from dfd.cli.ood import chosen
    from dfd.cli.ood_data import id_and_ood

    if not cfg.posthoc or not chosen(cfg):
        return None
    try:
        return id_and_ood(plain["data"], None, data_dir, allow)
    except DfdError as error:
        if any(override.startswith("posthoc") for override in HydraConfig.get().overrides.task):
            raise
        log.warning("no report on what is strange at the end: %s", error)
        return None


def _checked(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """Fix what only this run knows, and give the configuration as plain values, if all of it can be built here."""
    from dfd.evaluation.protocol import Protocol
    from dfd.training.device_errors import check_device
    from dfd.training.teacher import check_teacher

    OmegaConf.update(cfg, "run_dir", str(folder))
    for key in ("data_dir", "output_dir"):
        OmegaConf.update(cfg, f"paths.{key}", str(Path(cfg.paths[key]).absolute()))
    plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    check_device(plain["trainer"])
    check(plain, allowed(cfg.plugins))
    check_teacher(plain)
    Protocol.of(plain["eval"])
    return plain


def _open_folder(folder: Path, cfg: DictConfig, recipe: DictConfig, known: Prepared) -> str:
    """Write the configuration into the run folder, as composed and as resolved; return the latter."""
    from dfd.core.run_folder import compare_data

    text = runs.open_folder(folder, cfg)
    write_recipe(folder, recipe)
    if cfg.run:
        compare_data(cfg.run, known.manifest.hash)
    return text


def _assemble(
    plain: dict[str, Any], prepared: Prepared, known: Prepared, allow: tuple[str, ...]
) -> "tuple[FaceDataModule, Objective]":
    import pytorch_lightning as pl

    from dfd.core.card import Card
    from dfd.training.starting import base_tree, with_base
    from dfd.training.teacher import taught_objective

    pl.seed_everything(plain["seed"], workers=True, verbose=False)
    tree, base = plain["model"]["network"], plain["model"].get("base")
    network = with_base(tree, base, known.manifest, allow, allowed_networks(plain["plugins"]))
    log.info("%s initialised from %s", plain["model"]["name"], network.initialised_from)
    manifest = shuffled(prepared.manifest, plain["seed"]) if plain["shuffle_labels"] else prepared.manifest
    augment = build(plain["augment"], allow)
    data = build(plain["data"]["loader"], allow)(manifest, network.input, augment=augment, seed=plain["seed"])
    card = Card(
        network=base_tree(tree, base),
        input=asdict(network.input),
        model=plain["model"]["name"],
        data=prepared.source.tag,
        sample=prepared.source.sample,
        manifest=manifest.hash,
        crops={key: value for key, value in (plain["data"]["crops"] or {}).items() if key != "_target_"} or None,
        seed=plain["seed"],
        plugins=tuple(plain["plugins"]),
        initialised_from=network.initialised_from,
        looking=_looking(data, plain),
        is_baseline=tree["_target_"].endswith(".LinearProbe"),
        outliers=None if prepared is known else _outlier_names(manifest.records),
    ).to_plain()
    optimizer, scheduler = build(plain["optimizer"], allow), build(plain["scheduler"], allow)
    tree, teacher = taught_objective(plain, prepared.manifest, allow)
    draw = {"seed": plain["seed"], "augment": augment and augment.on_device}
    objective = build(tree, allow)(network, optimizer=optimizer, scheduler=scheduler, card=card, **draw, **teacher)
    return data, objective


def _looking(data: "FaceDataModule", plain: dict[str, Any]) -> "Looking":
    """Return how validation looks at a video, which is how the run is evaluated and predicts."""
    from dfd.core.card import Looking

    frames = data.eval_views if data.input.kind == "image" else None
    protocol, precision = plain["eval"], str(plain["trainer"]["precision"])
    return Looking(data.showing, data.sampling, frames, protocol["pool"], protocol["tracks"], precision)


def _outlier_names(records: "Sequence[Record]") -> str:
    return ", ".join(sorted({record.method for record in records if record.label == FAKE}))


def _callbacks(plain: dict[str, Any], allow: tuple[str, ...]) -> dict[str, Any]:
    nodes = {"callbacks": plain["callbacks"] or {}, "logger": plain["logger"] or {}}
    return {key: [build(node, allow) for node in named.values() if node] for key, named in nodes.items()}


def _trainer(cfg: DictConfig, plain: dict[str, Any], allow: tuple[str, ...]) -> "tuple[pl.Trainer, Watched | None]":
    """Return a trainer, and what watches it if its run is a trial of a search."""
    from dfd.training.pruning import Watched

    trainer = build(plain["trainer"], allow, **_callbacks(plain, allow))
    starts_others = trainer.strategy.launcher is not None and trainer.num_devices > 1
    if starts_others and in_sweep() and HydraConfig.get().launcher["_target_"].endswith(".BasicLauncher"):
        raise DfdError(
            f"trainer.devices={trainer.num_devices} in a sweep: every training needs a process that it can start anew, "
            "add hydra/launcher=joblib"
        )
    if cfg.hparams_search.trial is None:
        return trainer, None
    watched = Watched(cfg.metric, watch(cfg, Path(HydraConfig.get().sweep.dir)))
    trainer.callbacks.insert(0, watched)
    return trainer, watched


def _resumed(ckpt_path: str | None, folder: Path, plain: dict[str, Any], prepared: Prepared) -> Path | None:
    """Return the checkpoint to go on from, before anything is written: that of another model is refused."""
    from dfd.core.card import Card
    from dfd.core.run_folder import find_checkpoint
    from dfd.models.checkpoint import read_checkpoint
    from dfd.training.starting import base_tree

    if ckpt_path is None:
        return None
    resume = folder / "checkpoints" / "last.ckpt" if ckpt_path == "last" else find_checkpoint(Path(ckpt_path))
    card, built = (
        Card.of(read_checkpoint(resume)["dfd"]),
        base_tree(plain["model"]["network"], plain["model"].get("base")),
    )
    if card.network != built:
        raise DfdError(
            f"{resume} is a checkpoint of another model ({card.network}), this run builds {built}: give the same "
            "model and model.network.* values"
        )
    if card.manifest != prepared.manifest.hash:
        log.warning("the data changed since %s was written: the run goes on, but not as it would have", resume)
    return resume


def _test(
    trainer: "pl.Trainer",
    plain: dict[str, Any],
    prepared: Prepared,
    folder: Path,
    facts: dict[str, Any],
    started: float,
) -> None:
    from dfd.cli.reporting import report
    from dfd.evaluation.operating import store_operating_point
    from dfd.evaluation.protocol import Protocol
    from dfd.models.checkpoint import load_network
    from dfd.training.run_split import score_split
    from dfd.training.scoring import prediction_table

    protocol = Protocol.of(plain["eval"])
    loaded = load_network(folder, allowed_networks(plain["plugins"]))
    data = build(plain["data"]["loader"], allowed(plain["plugins"]))(prepared.manifest, loaded.network.input)
    validation, rows = (score_split(loaded.network, data, split, plain["trainer"]) for split in ("val", "test"))
    if not trainer.is_global_zero:
        return
    facts |= {"checkpoint": str(loaded.path), "seconds": round(time.time() - started, 1)}
    store_operating_point(folder, prediction_table(validation, data.records("val")), protocol, facts)
    evaluation = folder / "eval" / f"{prepared.source.tag}-test"
    report(evaluation, rows, data, "test", facts, protocol, prepared.lost, folder, loaded.network)


def _facts(plain: dict[str, Any], prepared: Prepared, objective: Any, text: str, folder: Path) -> dict[str, Any]:
    from dfd.core.card import Card
    from dfd.training.teacher import teacher_note

    return runs.evaluation_facts(
        prepared, plain["data"]["title"], Card.of(objective.card), objective.network.initialised_from, folder
    ) | {
        "config": text,
        "overrides": list(HydraConfig.get().overrides.task),
        "notes": prepared.notes
        + teacher_note(plain)
        + (["trained on SHUFFLED labels"] if plain["shuffle_labels"] else []),
    }


def _history(trainer: "pl.Trainer") -> list[dict[str, float]]:
    from dfd.training.callbacks import History

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
