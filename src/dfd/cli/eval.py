"""dfd-eval: score a dataset with a run's checkpoint and report."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from dfd.cli import runs
from dfd.cli.app import LIBRARIES, allowed, allowed_networks, command
from dfd.cli.datasets import find_source, prepare_data
from dfd.cli.sample import banner
from dfd.core.build import build, check
from dfd.core.errors import DfdError

if TYPE_CHECKING:
    from dfd.data.datamodule import FaceDataModule
    from dfd.models.base import Detector
    from dfd.training.checkpoint import Loaded
    from dfd.training.scoring import Rows

log = logging.getLogger("dfd")


def evaluate(cfg: DictConfig) -> float:
    """Evaluate one checkpoint on one split of one dataset; return the video AUC."""
    from dfd.cli.reporting import report
    from dfd.cli.train import evaluation_facts
    from dfd.training.checkpoint import find_checkpoint, load_network

    started = time.time()
    checkpoint = find_checkpoint(Path(cfg.run))
    loaded = load_network(checkpoint, allowed_networks(cfg.plugins))
    saved = runs.saved_config(checkpoint)
    allow = allowed(cfg.plugins)
    if cfg.posthoc:
        return _posthoc(cfg, loaded, saved, allow)
    if "base" in loaded.card["network"]:
        raise DfdError(
            f"{cfg.run} says what is strange, not what is fake: evaluate it with posthoc=[abnormality,msp,knn]"
        )
    data_cfg, data_dir = _data(cfg, saved, checkpoint)
    check(data_cfg, allow, "data")
    source = find_source(data_cfg, data_dir)
    if source.sample:
        log.warning(banner(data_cfg["title"], source, {}))
    own_crops = any(override.startswith("data.crops") for override in HydraConfig.get().overrides.task)
    crops = {} if own_crops else loaded.card["crops"]  # faces cut as in training, unless the user says otherwise
    prepared = prepare_data(data_cfg, data_dir, allow, crops)
    data = build(data_cfg["loader"], allow)(prepared.manifest, loaded.network.input)
    rows = score(loaded.network, data, cfg.split, OmegaConf.to_container(cfg.trainer, resolve=True))  # type: ignore[arg-type]
    run = checkpoint.parents[1] if saved is not None else checkpoint.parent
    folder = Path(cfg.output) if cfg.output else run / "eval" / f"{source.tag}-{cfg.split}"
    facts = evaluation_facts(prepared, data_cfg["title"], dict(loaded.card), loaded.network.initialised_from, run) | {
        "checkpoint": str(checkpoint),
        "config": OmegaConf.to_yaml(cfg, resolve=True),
        "overrides": list(HydraConfig.get().overrides.task),
        "seconds": round(time.time() - started, 1),
    }
    return report(folder, rows, data, cfg.split, facts, cfg.eval.threshold, cfg.eval.resamples).video["auc"].value


def _posthoc(cfg: DictConfig, loaded: "Loaded", saved: DictConfig | None, allow: tuple[str, ...]) -> float:
    """Evaluate out-of-distribution detectors on a run; return the AUROC of the lead."""
    from dfd.cli.ood import chosen, posthoc
    from dfd.cli.strange import both_sides

    chosen(cfg)
    if saved is None:
        raise DfdError(f"{loaded.path} stands alone: posthoc= needs the run folder, which says what the run knows")
    given = any(override.startswith("paths.data_dir") for override in HydraConfig.get().overrides.task)
    known: dict[str, Any] = OmegaConf.to_container(saved.data, resolve=True)  # type: ignore[assignment]
    data_dir = Path(cfg.paths.data_dir if given else saved.paths.data_dir)
    return posthoc(loaded, both_sides(known, cfg.data, data_dir, allow, loaded.card["crops"]), cfg)


def score(network: "Detector", data: "FaceDataModule", split: str, trainer: Mapping[str, Any]) -> "Rows":
    """Run a network over a split on the device that the trainer configuration names; return a row per view."""
    import pytorch_lightning as pl

    from dfd.training.scoring import Scoring

    scoring = Scoring(network)
    quiet = {"logger": False, "enable_checkpointing": False, "callbacks": [pl.callbacks.RichProgressBar()]}
    runner = build(dict(trainer), LIBRARIES, **quiet)
    runner.test(scoring, data.eval_dataloader(split), verbose=False)
    return scoring.rows["test"]


def _data(cfg: DictConfig, saved: DictConfig | None, checkpoint: Path) -> tuple[dict[str, Any], Path]:
    """Return the data configuration (the user's choice, else that of the run) and the folder of datasets."""
    given = any(override.startswith("paths.data_dir") for override in HydraConfig.get().overrides.task)
    data_dir = Path(cfg.paths.data_dir if given or saved is None else saved.paths.data_dir)
    node = cfg.data if cfg.data is not None else saved.data if saved is not None else None
    if node is None:
        raise DfdError(f"{checkpoint} stands alone, without its run folder: say what to evaluate on with data=...")
    return OmegaConf.to_container(node, resolve=True), data_dir  # type: ignore[return-value]


main = command("eval", evaluate)

if __name__ == "__main__":
    main()
