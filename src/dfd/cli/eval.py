"""dfd-eval: score datasets with a run's checkpoint and report."""

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from dfd.cli import run_folders
from dfd.cli.app import command
from dfd.cli.eval_subject import Subject, data_dir_of, prepare_for
from dfd.cli.invocation import Invocation
from dfd.cli.sweeps.summary import note_evaluations
from dfd.core.build import allowed, build
from dfd.core.errors import DfdError, did_you_mean
from dfd.core.locks import alone_in
from dfd.core.process_group import is_first

if TYPE_CHECKING:
    from dfd.runs.evaluation import Evaluated

log = logging.getLogger("dfd")


def evaluate(cfg: DictConfig, called: Invocation) -> float:
    """Evaluate one checkpoint on one split of one or several datasets; return the (mean) headline value."""
    from dfd.evaluation.cross_report import report_cross
    from dfd.evaluation.protocol import Protocol

    if cfg.posthoc:
        return _report_ood(cfg, Subject.of(cfg), called)
    evaluated = evaluate_datasets(cfg, called)
    if not evaluated:  # one of the other processes, whose rows the first one has
        return float("nan")
    folders = [one.folder for one in evaluated]
    if called.sweep is not None:
        note_evaluations(called.sweep, folders)
    if len(evaluated) == 1:
        return evaluated[0].value
    output = Path(cfg.output) if cfg.output else _subject_folder(cfg) / "eval"
    return report_cross(output, folders, Protocol.of(OmegaConf.to_container(cfg.eval)))  # type: ignore[arg-type]


def evaluate_datasets(cfg: DictConfig, called: Invocation) -> "list[Evaluated]":
    """Score and report every dataset that `data=` names; return where the reports lie."""
    choices = several_datasets(called)
    _check(cfg, choices)
    subject = Subject.of(cfg)
    if "base" in subject.loaded.card.network and subject.loaded.network.input.kind != "talk":
        raise DfdError(
            f"{cfg.run} tells unknown data from known, not fake from real: evaluate it with "
            "posthoc=[abnormality,msp,knn]"
        )
    each = [_evaluate_dataset(one, subject, called, len(choices) > 1) for one in _per_dataset(cfg, choices, called)]
    return [one for one in each if one is not None]


def _subject_folder(cfg: DictConfig) -> Path:
    from dfd.core.run_folder import find_checkpoint, run_of

    return run_of(find_checkpoint(Path(cfg.run)))


def _check(cfg: DictConfig, choices: list[str]) -> None:
    """Refuse what cannot work before anything is scored."""
    from dfd.runs.evaluation import check_corruption, check_evaluation

    plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    check_evaluation(plain)
    check_corruption(plain)
    unknown = set(cfg.roots or {}) - {*choices, cfg.data.name}
    if choices and unknown:
        name = min(unknown)
        raise DfdError(f"roots.{name}: no such dataset in data={choices}{did_you_mean(name, choices)}")


def several_datasets(called: Invocation) -> list[str]:
    """Return the datasets that `data=[a,b]` names; none where a single one, or nothing, is named."""
    values = [override.value() for override in called.parsed if override.key_or_group == "data"]
    return [str(name) for name in values[-1]] if values and isinstance(values[-1], list) else []


def _per_dataset(cfg: DictConfig, choices: list[str], called: Invocation) -> list[DictConfig]:
    """Compose the configuration once per dataset: lists of one group would be merged into one dataset."""
    if not choices:
        return [cfg]
    rest = [text for text in called.overrides if not text.startswith("data=")]
    return [compose("eval", [*rest, f"data={name}"]) for name in choices]


def _evaluate_dataset(cfg: DictConfig, subject: Subject, called: Invocation, of_several: bool) -> "Evaluated | None":
    from dfd.runs.evaluation import Task, evaluator_of

    prepared, data_cfg = prepare_for(cfg, subject, called)
    network, card, run = subject.loaded.network, subject.loaded.card, subject.folder
    data = build(data_cfg["loader"], allowed(cfg.plugins), "loader")(prepared.manifest, network.input)
    protocol = called.choice("eval")
    name = f"{prepared.source.tag}-{cfg.split}" + ("" if protocol in (None, "video") else f"-{protocol}")
    folder = run / "eval" / name
    if cfg.output:
        folder = Path(cfg.output) / name if of_several else Path(cfg.output)
    facts = run_folders.evaluation_facts(prepared, data_cfg["title"], card, run) | {
        "checkpoint": str(subject.loaded.path),
        "config": OmegaConf.to_yaml(cfg, resolve=True),
        "overrides": list(called.overrides),
    }
    plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    known = run if subject.saved is not None else None
    validates = cfg.split == "val" and prepared.manifest.hash == card.manifest and known is not None
    options = {"corruption": plain["corruption"], "oracle": cfg.oracle, "data": data_cfg, "plugins": plain["plugins"]}
    arguments = (cfg.split, plain["eval"], plain["trainer"], facts, folder, known, validates, options)
    with alone_in(folder) if is_first() else nullcontext():
        return evaluator_of(network.input.kind).evaluate(Task(subject.loaded, data, prepared, *arguments))


def _report_ood(cfg: DictConfig, subject: Subject, called: Invocation) -> float:
    """Evaluate out-of-distribution detectors on a run; return the AUROC of the lead."""
    from dfd.runs.ood import OodTask, chosen_detectors, report_ood
    from dfd.runs.ood_data import id_and_ood

    plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    chosen_detectors(plain["posthoc"], plain["ood"])
    loaded, saved = subject.loaded, subject.saved
    if saved is None:
        raise DfdError(f"{loaded.path} stands alone: posthoc= needs the run folder, which says what the run knows")
    known: dict[str, Any] = OmegaConf.to_container(saved.data, resolve=True)  # type: ignore[assignment]
    given = None if cfg.data.name is None else OmegaConf.to_container(cfg.data, resolve=True)
    data_dir = data_dir_of(cfg, saved, called, known)
    both = id_and_ood(known, data_dir, allowed(cfg.plugins), called.values, given, loaded.card.crops)  # type: ignore[arg-type]
    return report_ood(loaded, both, OodTask.of(plain, OmegaConf.to_yaml(cfg, resolve=True)))


main = command("eval", evaluate)

if __name__ == "__main__":
    main()
