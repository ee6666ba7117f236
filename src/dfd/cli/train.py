"""dfd-train: fit a model on a dataset, test its best checkpoint, report."""

import copy
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from dfd.cli import run_folders
from dfd.cli.app import command
from dfd.cli.invocation import Invocation
from dfd.cli.recipe import primary, write_recipe
from dfd.cli.sample_banner import banner, scale_down
from dfd.cli.sweeps.jobs import Pruned
from dfd.core.build import allowed

if TYPE_CHECKING:
    from dfd.runs.assembly import Plain
    from dfd.training.pruning import PruningCallback

log = logging.getLogger("dfd")


def train(cfg: DictConfig, called: Invocation) -> float:
    """Train, test and report one run; return the value that a sweep optimises."""
    from dfd.core.run_folder import start_notes
    from dfd.preprocess.dataset import find_source, prepare_data
    from dfd.runs import training as run
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
    plain = _plain(cfg, folder)
    run.check_settings(plain)
    # prepare
    data_dir, allow = Path(plain["paths"]["data_dir"]), allowed(plain["plugins"])
    prepared = known = prepare_data(plain["data"], data_dir, allow)
    both = run.id_and_ood_data(plain, called.values)
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
    facts = run_folders.evaluation_facts(prepared, plain["data"]["title"], training.card, folder) | {
        "overrides": list(called.overrides), "notes": run.training_notes(plain, prepared), "config": text,
        "scaled_down": changed,
    }  # fmt: skip
    if trainer.is_global_zero:
        start_notes(folder, facts)
    # fit
    with explain_failures(folder, plain["data"]["loader"]["batch_size"]):
        history = run.fit(trainer, training, resume)
    if watched is not None and watched.given_up:
        raise Pruned(run.best_value(history, trainer, plain["metric"]))
    # test and report
    if plain["test"] and prepared is known:
        trainer.strategy.barrier()  # the first process writes the checkpoint that all of them test
        run.test(plain, prepared, folder, facts | {"history": history, "seconds": round(time.time() - started, 1)})
    if both is not None and trainer.is_global_zero:
        run.report_unknown(folder, both, plain, text)
    return run.best_value(history, trainer, plain["metric"])


def _plain(cfg: DictConfig, folder: Path) -> "Plain":
    """Fix what only this run knows, and return the configuration as plain values."""
    OmegaConf.update(cfg, "run_dir", str(folder))
    for key in ("data_dir", "output_dir"):
        OmegaConf.update(cfg, f"paths.{key}", str(Path(cfg.paths[key]).absolute()))
    return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def _watched(plain: "Plain", called: Invocation) -> "PruningCallback | None":
    """Return what reports to the search if this run is a trial of one."""
    from dfd.cli.sweeps.search import watch
    from dfd.training.pruning import PruningCallback

    if plain["hparams_search"]["trial"] is None or called.sweep is None:
        return None
    return PruningCallback(plain["metric"], watch(plain["hparams_search"], plain["metric"], called.sweep))


main = command("train", train, primary)

if __name__ == "__main__":
    main()
