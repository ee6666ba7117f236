"""dfd-eval: score datasets with a run's checkpoint and report."""

import itertools
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from dfd.cli import runs
from dfd.cli.app import command, in_sweep
from dfd.cli.sample_banner import banner
from dfd.cli.sweeps.summary import note_evaluations
from dfd.core.build import allowed, allowed_networks, build, check
from dfd.core.errors import DfdError, did_you_mean
from dfd.core.process_group import is_first
from dfd.core.resources import Cost
from dfd.preprocess.dataset import Prepared, find_source, prepare_data

if TYPE_CHECKING:
    import pandas as pd

    from dfd.data.datamodule import FaceDataModule
    from dfd.evaluation.evaluate import Evaluation
    from dfd.models.checkpoint import Loaded
    from dfd.training.scoring import Rows

log = logging.getLogger("dfd")


@dataclass(frozen=True)
class Subject:
    """The run under evaluation: its network, its folder, and how it was configured, if that is still known."""

    loaded: "Loaded"
    folder: Path
    saved: DictConfig | None


@dataclass(frozen=True)
class Scored:
    """One dataset, scored: where its report lies, and its numbers."""

    folder: Path
    evaluation: "Evaluation"


def evaluate(cfg: DictConfig) -> float:
    """Evaluate one checkpoint on one split of one or several datasets; return the (mean) video AUC."""
    from dfd.core.run_folder import find_checkpoint
    from dfd.data.corrupt import strength
    from dfd.evaluation.cross_report import report_cross
    from dfd.evaluation.protocol import Protocol
    from dfd.models.checkpoint import load_network
    from dfd.training.device_errors import check_device

    for kind, level in itertools.product(cfg.corruption.kinds, cfg.corruption.levels):
        strength(kind, level)  # what does not exist is said before anything is scored
    check_device(OmegaConf.to_container(cfg.trainer, resolve=True))  # type: ignore[arg-type]
    protocol = Protocol.of(OmegaConf.to_container(cfg.eval))  # type: ignore[arg-type]
    checkpoint = find_checkpoint(Path(cfg.run))
    loaded = load_network(checkpoint, allowed_networks(cfg.plugins))
    saved = runs.saved_config(checkpoint)
    run = checkpoint.parents[1] if saved is not None else checkpoint.parent
    subject = Subject(loaded, run, saved)
    if cfg.posthoc:
        return _posthoc(cfg, subject)
    if "base" in loaded.card.network:
        raise DfdError(
            f"{cfg.run} says what is strange, not what is fake: evaluate it with posthoc=[abnormality,msp,knn]"
        )
    choices = several(HydraConfig.get().overrides.task)
    strangers = set(cfg.roots or {}) - {*choices, cfg.data.name}
    if choices and strangers:
        name = min(strangers)
        raise DfdError(f"roots.{name}: no such dataset in data={choices}{did_you_mean(name, choices)}")
    if cfg.corruption.kinds and not cfg.corruption.levels:
        raise DfdError(f"corruption.kinds={list(cfg.corruption.kinds)}: say how strong, corruption.levels=[1,2,3,4,5]")
    if cfg.corruption.kinds and _processes(cfg) > 1:
        raise DfdError("corruption= is scored by one process: add trainer.devices=1")
    looked = [_one(each, subject, protocol, len(choices) > 1) for each in _each(cfg, choices)]
    scored = [one for one in looked if one is not None]
    if not scored:  # one of the other processes, whose rows the first one has
        return float("nan")
    if in_sweep():
        note_evaluations(Path(HydraConfig.get().sweep.dir), [one.folder for one in scored])
    if len(scored) == 1:
        return scored[0].evaluation.video["auc"].value
    output = Path(cfg.output) if cfg.output else run / "eval"
    return report_cross(output, [one.folder for one in scored], protocol)


def _posthoc(cfg: DictConfig, subject: Subject) -> float:
    """Evaluate out-of-distribution detectors on a run; return the AUROC of the lead."""
    from dfd.cli.ood import chosen, report_ood
    from dfd.cli.ood_data import id_and_ood

    chosen(cfg)
    loaded, saved = subject.loaded, subject.saved
    if saved is None:
        raise DfdError(f"{loaded.path} stands alone: posthoc= needs the run folder, which says what the run knows")
    known: dict[str, Any] = OmegaConf.to_container(saved.data, resolve=True)  # type: ignore[assignment]
    given = None if cfg.data.name is None else cfg.data
    sides = id_and_ood(known, given, _data_dir(cfg, saved), allowed(cfg.plugins), loaded.card.crops)
    return report_ood(loaded, sides, cfg)


def several(overrides: list[str]) -> list[str]:
    """Return the datasets that `data=[a,b]` names; none where a single one, or nothing, is named."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    values = [override.value() for override in parsed if override.key_or_group == "data"]
    return [str(name) for name in values[-1]] if values and isinstance(values[-1], list) else []


def _each(cfg: DictConfig, choices: list[str]) -> list[DictConfig]:
    """Compose the configuration once per dataset: lists of one group would be merged into one dataset."""
    if not choices:
        return [cfg]
    rest = [text for text in HydraConfig.get().overrides.task if not text.startswith("data=")]
    return [compose("eval", [*rest, f"data={name}"]) for name in choices]


def _other_protocol() -> str:
    """Return what tells the folder of another protocol's report from that of the usual one."""
    choice = HydraConfig.get().runtime.choices.get("eval")
    return "" if choice in (None, "video") else f"-{choice}"


def _processes(cfg: DictConfig) -> int:
    trainer: dict[str, Any] = OmegaConf.to_container(cfg.trainer, resolve=True)  # type: ignore[assignment]
    return build(trainer, allowed(cfg.plugins), logger=False).world_size


def _one(cfg: DictConfig, subject: Subject, protocol: Any, of_several: bool) -> Scored | None:
    """Score one dataset and, in the first process, report it."""
    from dfd.cli.reporting import report
    from dfd.core.card import SHOWN_IN_CROPS
    from dfd.core.manifest import Manifest
    from dfd.evaluation.operating import store_operating_point
    from dfd.inference.robustness import Corruptions, refuse_uncorruptible, robustness
    from dfd.training.run_split import score_split
    from dfd.training.scoring import prediction_table

    started, cost = time.time(), Cost()
    prepared, data_cfg = _prepare(cfg, subject)
    network, card, run = subject.loaded.network, subject.loaded.card, subject.folder
    if cfg.corruption.kinds:
        refuse_uncorruptible(prepared.manifest.split(cfg.split))
    data_cfg["loader"] |= {key: data_cfg["crops"][key] for key in SHOWN_IN_CROPS if key in (data_cfg["crops"] or {})}
    data = build(data_cfg["loader"], allowed(cfg.plugins))(prepared.manifest, network.input)
    trainer: dict[str, Any] = OmegaConf.to_container(cfg.trainer, resolve=True)  # type: ignore[assignment]
    rows = score_split(network, data, cfg.split, trainer)
    selection = _selection(subject, data, cfg, trainer, rows) if cfg.oracle else None
    if not is_first():
        return None
    name = f"{prepared.source.tag}-{cfg.split}{_other_protocol()}"
    folder = run / "eval" / name
    if cfg.output:
        folder = Path(cfg.output) / name if of_several else Path(cfg.output)
    facts = runs.evaluation_facts(prepared, data_cfg["title"], card, network.initialised_from, run) | {
        "checkpoint": str(subject.loaded.path),
        "config": OmegaConf.to_yaml(cfg, resolve=True),
        "overrides": list(HydraConfig.get().overrides.task),
        "seconds": round(time.time() - started, 1),
        "cost": cost.words(),
    }
    if cfg.split == "val" and prepared.manifest.hash == card.manifest and subject.saved is not None:
        store_operating_point(run, prediction_table(rows, data.records("val")), protocol, facts)
    if selection is not None:
        facts["selection"] = selection
    known = run if subject.saved is not None else None
    evaluation = report(folder, rows, data, cfg.split, facts, protocol, prepared.lost, known, network)
    if cfg.corruption.kinds:
        size = int(data_cfg["crops"]["size"])
        corruptions = Corruptions(
            cfg.corruption.name, cfg.corruption.kinds, cfg.corruption.levels, cfg.corruption.keep, size
        )

        def table_of(manifest: Manifest) -> "pd.DataFrame":
            changed = build(data_cfg["loader"], allowed(cfg.plugins))(manifest, network.input)
            return prediction_table(score_split(network, changed, cfg.split, trainer), changed.records(cfg.split))

        robustness(corruptions, table_of, prepared.manifest, cfg.split, folder, facts, protocol, known)
    return Scored(folder, evaluation)


def _prepare(cfg: DictConfig, subject: Subject) -> tuple[Prepared, dict[str, Any]]:
    data_cfg, data_dir = _data(cfg, subject)
    if data_cfg["name"] in (cfg.roots or {}):
        data_cfg["root"] = cfg.roots[data_cfg["name"]]
    allow = allowed(cfg.plugins)
    check(data_cfg, allow, "data")
    source = find_source(data_cfg, data_dir)
    if source.sample:
        log.warning(banner(data_cfg["title"], source, {}))
    typed = {override.lstrip("+").partition("=")[0] for override in HydraConfig.get().overrides.task}
    # looked at as in the run's own validation, unless the user says otherwise
    looking = subject.loaded.card.looking
    for key, value in (("sampling", looking.sampling), ("eval_frames", looking.frames)):
        if value is not None and key in data_cfg["loader"] and f"data.loader.{key}" not in typed:
            data_cfg["loader"][key] = value
    if data_cfg["crops"] is not None:  # cut as in training, unless the user says otherwise
        crops = subject.loaded.card.crops or {}
        data_cfg["crops"] |= {key: value for key, value in crops.items() if f"data.crops.{key}" not in typed}
    return prepare_data(data_cfg, data_dir, allow), data_cfg


def _selection(
    subject: Subject, data: "FaceDataModule", cfg: DictConfig, trainer: Mapping[str, Any], rows: "Rows"
) -> dict[str, Any]:
    """Score every checkpoint of the run on this split; return what choosing among them by it would have gained."""
    from dfd.metrics.pooling import pool
    from dfd.metrics.ranking import roc_auc
    from dfd.models.checkpoint import load_network, read_checkpoint
    from dfd.training.run_split import score_split

    def auc(rows: "Rows") -> float:
        return roc_auc(*pool(rows.video, rows.label, rows.score))

    chosen = subject.loaded.path
    steps = {read_checkpoint(chosen).get("global_step")}  # best and last are copies of some epoch
    others = []
    for path in sorted(chosen.parent.glob("*.ckpt")):
        step = read_checkpoint(path).get("global_step")
        if step is not None and step not in steps:  # none: an average of several
            steps.add(step)
            others.append(path)
    if not others:
        raise DfdError(f"oracle=true compares epochs, {chosen.parent} holds one only: train with callbacks=every")
    found = {chosen.name: auc(rows)}
    for path in others:
        network = load_network(path, allowed_networks(cfg.plugins)).network
        found[path.name] = auc(score_split(network, data, cfg.split, trainer))
    best = sorted(found.values(), reverse=True)
    return {
        "chosen": found[chosen.name],
        "chosen_name": chosen.name,
        "count": len(found),
        "best": best[0],
        "top3": sum(best[:3]) / len(best[:3]),
        "all": found,
    }


def _data(cfg: DictConfig, subject: Subject) -> tuple[dict[str, Any], Path]:
    """Return the data configuration (the user's choice, else that of the run) and the folder of datasets."""
    overrides, saved = HydraConfig.get().overrides.task, subject.saved
    data_dir = _data_dir(cfg, saved)
    node = cfg.data
    if node.name is None:
        if saved is None:
            raise DfdError(
                f"{subject.loaded.path} stands alone, without its run folder: say what to evaluate on with data=..."
            )
        values = [text.lstrip("+") for text in overrides if text.lstrip("+").startswith("data.")]
        node = OmegaConf.merge(saved, OmegaConf.from_dotlist(values)).data
    return OmegaConf.to_container(node, resolve=True), data_dir  # type: ignore[return-value]


def _data_dir(cfg: DictConfig, saved: DictConfig | None) -> Path:
    given = any(override.startswith("paths.data_dir") for override in HydraConfig.get().overrides.task)
    return Path(cfg.paths.data_dir if given or saved is None else saved.paths.data_dir)


main = command("eval", evaluate)

if __name__ == "__main__":
    main()
