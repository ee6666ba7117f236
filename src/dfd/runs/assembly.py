"""From a checked configuration to what trains: network, objective, data, card, trainer."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from dfd.core.build import allowed, allowed_networks, build
from dfd.core.card import Card, Looking
from dfd.core.errors import DfdError
from dfd.core.records import FAKE, Record, input_to_dict
from dfd.core.run_folder import CHECKPOINTS, find_checkpoint
from dfd.models.checkpoint import CARD, read_checkpoint
from dfd.preprocess.dataset import Prepared, shuffled
from dfd.training.pruning import PruningCallback
from dfd.training.starting import base_tree, with_base
from dfd.training.teacher import taught_objective

log = logging.getLogger("dfd")

Plain = dict[str, Any]  # the composed configuration as plain values


@dataclass(frozen=True)
class Training:
    """What is trained on what."""

    objective: Any
    data: Any
    card: Card


def assemble(plain: Plain, prepared: Prepared, known: Prepared) -> Training:
    """Build network, data and objective; `prepared` differs from `known` where outliers are learned."""
    allow = allowed(plain["plugins"])
    pl.seed_everything(plain["seed"], workers=True, verbose=False)
    tree, base = plain["model"]["network"], plain["model"].get("base")
    network = with_base(tree, base, known.manifest, allow, allowed_networks(plain["plugins"]))
    log.info("%s initialised from %s", plain["model"]["name"], network.initialised_from)
    manifest = shuffled(prepared.manifest, plain["seed"]) if plain["shuffle_labels"] else prepared.manifest
    augment = build(plain["augment"], allow, "augment")
    data = build(plain["data"]["loader"], allow, "loader")(manifest, network.input, augment=augment, seed=plain["seed"])
    card = Card(
        network=base_tree(tree, base, allow),
        input=input_to_dict(network.input),
        model=plain["model"]["name"],
        data=prepared.source.tag,
        sample=prepared.source.sample,
        manifest=manifest.hash,
        crops={key: value for key, value in (plain["data"]["crops"] or {}).items() if key != "_target_"} or None,
        seed=plain["seed"],
        plugins=tuple(plain["plugins"]),
        initialised_from=network.initialised_from,
        looking=_looking(data, plain),
        is_baseline=network.is_baseline,
        outliers=None if prepared is known else _outlier_names(manifest.records),
        features=plain["data"].get("features"),
    )
    optimizer = build(plain["optimizer"], allow, "optimizer")
    scheduler = build(plain["scheduler"], allow, "scheduler")
    objective_tree, teacher = taught_objective(plain, prepared.manifest, allow)
    more = {"seed": plain["seed"], "augment": augment and augment.on_device, "card": card.to_plain(), **teacher}
    objective = build(objective_tree, allow, "objective")(network, optimizer=optimizer, scheduler=scheduler, **more)
    return Training(objective, data, card)


def _looking(data: Any, plain: Plain) -> Looking:
    """Return how validation looks at a video, which is how the run is evaluated and predicts."""
    protocol, precision = plain["eval"], str(plain["trainer"]["precision"])
    if data.input.kind not in ("image", "clip"):
        return Looking(frames=None, pool=protocol["pool"], tracks=protocol["tracks"], precision=precision)
    frames = data.eval_views if data.input.kind == "image" else None
    return Looking(data.showing, data.sampling, frames, protocol["pool"], protocol["tracks"], precision)


def _outlier_names(records: Sequence[Record]) -> str:
    return ", ".join(sorted({record.method for record in records if record.label == FAKE}))


def make_trainer(plain: Plain, launcher: str = "", watched: PruningCallback | None = None) -> pl.Trainer:
    """Build the trainer; `launcher` is that of the sweep's jobs, `watched` reports to a search."""
    allow = allowed(plain["plugins"])
    nodes = {"callbacks": plain["callbacks"] or {}, "logger": plain["logger"] or {}}
    try:
        built = {key: [build(node, allow, key) for node in named.values() if node] for key, named in nodes.items()}
    except ModuleNotFoundError as error:  # a logger's client, which Lightning does not bring
        raise DfdError(f"{error}: install it, or choose another logger=") from error
    trainer = build(plain["trainer"], allow, "trainer", **built)
    starts_others = trainer.strategy.launcher is not None and trainer.num_devices > 1
    if starts_others and launcher.endswith(".BasicLauncher"):
        raise DfdError(
            f"trainer.devices={trainer.num_devices} in a sweep: every training needs a process of its own, "
            "add hydra/launcher=joblib"
        )
    if watched is not None:
        trainer.callbacks.insert(0, watched)
    return trainer


def checkpoint_to_resume(plain: Plain, folder: Path, prepared: Prepared) -> Path | None:
    """Return the checkpoint that training goes on from, before anything is written; another model's is refused."""
    path = plain["ckpt_path"]
    if path is None:
        return None
    resume = folder / CHECKPOINTS / "last.ckpt" if path == "last" else find_checkpoint(Path(path))
    card = Card.of(read_checkpoint(resume)[CARD])
    built = base_tree(plain["model"]["network"], plain["model"].get("base"), allowed(plain["plugins"]))
    if card.network != built:
        raise DfdError(
            f"{resume} is a checkpoint of another model ({card.network}), this run builds {built}: give the same "
            "model and model.network.* values"
        )
    if card.manifest != prepared.manifest.hash:
        log.warning("the data changed since %s was written: the run goes on, but not as it would have", resume)
    return resume
