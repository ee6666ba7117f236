"""A search for hyperparameters: Optuna proposes, Hydra's launchers run, everything is kept on disk.

The journal and the jobs' own notes are enough to go on after a SIGKILL: what was finished is counted, what was running
goes on from its last checkpoint as the same trial, and the next proposal is the one it would have been.
"""

import hashlib
import itertools
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Transformer
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from dfd.cli.sweeps import jobs
from dfd.core.errors import DfdError, did_you_mean
from dfd.metrics.direction import lower_is_better

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

log = logging.getLogger("dfd")

JOURNAL, LOCK, STUDY = "optuna.journal", ".search.lock", "search"
TRIAL = "hparams_search.trial"
GIVEN_UP = 3  # trials that all fail: the command is wrong, not unlucky


class Search(Sweeper):
    """Ask Optuna for trials, launch them, tell it what became of them."""

    def __init__(self) -> None:
        self.hydra_context: HydraContext | None = None
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None
        self.launched: Counter[int] = Counter()

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Find the folder of the search: the very same command has the very same one."""
        _optuna()
        self.hydra_context, self.config = hydra_context, config
        folder = Path(config.paths.output_dir) / "sweeps" / (config.sweep or folder_name(config))
        with read_write(config), open_dict(config):
            config.hydra.sweep.dir = str(folder)
            config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{folder}'")
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Go on until there are as many trials as were asked for."""
        assert self.config is not None
        folder = Path(self.config.hydra.sweep.dir)
        fixed, space = self._space(arguments)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        try:
            with FileLock(folder / LOCK, timeout=0):
                self._search(folder, fixed, space)
        except Timeout:
            raise DfdError(
                f"another process runs the search in {folder}: wait for it, or choose another sweep="
            ) from None

    def _search(self, folder: Path, fixed: list[str], space: "Mapping[str, BaseDistribution]") -> None:
        assert self.config is not None
        options = self.config.hparams_search
        slots = getattr(self.launcher, "slots", 1)
        if options.jobs is not None:
            slots = jobs.at_least_one("hparams_search.jobs", options.jobs, "null: as many as the launcher runs")
        for job in jobs.read_all(folder):
            jobs.check_owner(job, fixed, space)
        mend(folder / JOURNAL)
        study = open_study(folder, options, self.config.metric)
        if study.trials:
            log.info("the search in %s goes on: %s", folder, counted(study))
        while True:
            interrupted = settle(study, folder, options.retries, self.launched)
            left = options.trials - len(study.trials)
            if interrupted:
                log.info("trials that were interrupted go on: %s", ", ".join(str(t.number) for t in interrupted))
                for together in _consecutive(interrupted):
                    self._launch(folder, together, fixed)
            elif left <= 0:
                break
            elif _hopeless(study):
                return
            else:
                self._launch(folder, [ask(study, space, options) for _ in range(min(left, slots))], fixed)
        log.info("the search has all its trials: %s", counted(study))

    def _launch(self, folder: Path, trials: "Sequence[FrozenTrial]", fixed: list[str]) -> None:
        """Run trials of consecutive numbers, which are those of their jobs."""
        assert self.launcher is not None
        self.launched.update(trial.number for trial in trials)
        self.launcher.launch([_overrides(trial, fixed) for trial in trials], initial_job_idx=trials[0].number)
        stopped = {job.number for job in jobs.read_all(folder) if job.status == jobs.STOPPED}
        self.launched.subtract(stopped & {trial.number for trial in trials})  # those count who died

    def _space(self, arguments: list[str]) -> "tuple[list[str], dict[str, BaseDistribution]]":
        """Return what is fixed and what is searched: the axes of the command, else those of the configuration."""
        assert self.config is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = parser.parse_overrides(arguments)
        fixed = [override for override in given if not override.is_sweep_override()]
        axes = [override for override in given if override.is_sweep_override()]
        if not axes:
            named = {override.get_key_element() for override in fixed}
            shipped = OmegaConf.to_container(self.config.hparams_search.space, resolve=True)
            assert isinstance(shipped, dict)
            lines = [
                f"{key!s}={values!s}" for key, values in shipped.items() if values is not None and key not in named
            ]
            axes = parser.parse_overrides(lines)
        if not axes:
            raise DfdError("nothing to search: name an axis, such as 'optimizer.lr=tag(log, interval(1e-4, 1e-2))'")
        space = {axis.get_key_element(): distribution(axis) for axis in axes}
        texts = [f"{each.get_key_element()}={each.get_value_element_as_str()}" for each in fixed]
        example = [f"{key}={_example(values)}" for key, values in space.items()]
        self.validate_batch_is_legal([[*texts, *example]])  # an axis that does not exist is said before anything runs
        return texts, space


def folder_name(config: DictConfig) -> str:
    """Name the folder of a search after everything that decides its results, so that the same command finds it."""
    texts = sorted(text for text in config.hydra.overrides.task if not text.startswith("hparams_search."))
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:8]
    choices = config.hydra.runtime.choices
    return "_".join(["optuna", *(str(choices[group]) for group in ("model", "data") if group in choices), digest])


def open_study(folder: Path, options: DictConfig, metric: str) -> "Study":
    """Open the study of a folder, or make it."""
    optuna = _optuna()
    return optuna.create_study(
        study_name=STUDY,
        storage=_storage(folder),
        sampler=_sampler(options, options.seed),
        direction="minimize" if lower_is_better(metric) else "maximize",
        pruner=_pruner(options),
        load_if_exists=True,
    )


def ask(study: "Study", space: "Mapping[str, BaseDistribution]", options: DictConfig) -> "FrozenTrial":
    """Return a new trial; its seed is its number, so that a search that was interrupted goes on as it would have."""
    seed = options.seed + len(study.trials)
    study.sampler = _sampler(options, seed)
    number = study.ask(dict(space)).number
    return study.trials[number]


def settle(study: "Study", folder: Path, retries: int, launched: Mapping[int, int]) -> "list[FrozenTrial]":
    """Tell the study what became of its jobs; return the trials that are to be run again, because they were killed.

    `launched` counts the starts of this process, since a job may die before it can write down its own. A job that was
    stopped goes on whenever the search does.
    """
    state = _optuna().trial.TrialState
    found = {job.number: job for job in jobs.read_all(folder)}
    again = []
    for trial in study.get_trials(states=(state.RUNNING,)):
        job = found.get(trial.number, jobs.Job(trial.number, starts=0))
        starts = max(job.starts, launched.get(trial.number, 0))
        if job.status == jobs.DONE and math.isfinite(job.score):
            study.tell(trial.number, job.score)
        elif job.status == jobs.PRUNED:
            study.tell(trial.number, state=state.PRUNED)
        elif job.status == jobs.STOPPED or (job.status == jobs.RUNNING and starts <= retries):
            again.append(trial)
        elif job.status == jobs.RUNNING:
            _fail(study, trial, jobs.failed(job, f"its process died {starts} times"))
        elif job.status == jobs.DONE:
            _fail(study, trial, jobs.failed(job, "its metric is not a number"))
        else:
            _fail(study, trial, job)
    return again


def _fail(study: "Study", trial: "FrozenTrial", job: jobs.Job) -> None:
    optuna = _optuna()
    optuna.trial.Trial(study, trial._trial_id).set_user_attr("reason", job.reason)
    study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _overrides(trial: "FrozenTrial", fixed: list[str]) -> list[str]:
    return [*fixed, *(f"{key}={value}" for key, value in trial.params.items()), f"{TRIAL}={trial.number}"]


def _consecutive(trials: "Sequence[FrozenTrial]") -> "list[list[FrozenTrial]]":
    """Group trials whose numbers follow each other."""
    groups = itertools.groupby(enumerate(trials), key=lambda item: item[1].number - item[0])
    return [[trial for _, trial in group] for _, group in groups]


def counted(study: "Study") -> str:
    """Say how many trials there are of each kind, and which is the best."""
    states = [trial.state.name.lower() for trial in study.trials]
    parts = [f"{states.count(name)} {name}" for name in dict.fromkeys(states)]
    done = [trial for trial in study.trials if trial.value is not None]
    best = f"; the best is trial {study.best_trial.number} with {study.best_value:.4f}" if done else ""
    return f"{len(states)} trials ({', '.join(parts)}){best}"


def watch(search: Mapping[str, Any], metric: str, folder: Path) -> Callable[[int, float], bool]:
    """Return what tells the study of a trial's epoch, and says whether the trial is hopeless."""
    optuna = _optuna()
    study = open_study(folder, OmegaConf.create(dict(search)), metric)
    trial = optuna.trial.Trial(study, study.trials[search["trial"]]._trial_id)

    def report(epoch: int, value: float) -> bool:
        if epoch not in study.trials[trial.number].intermediate_values:  # it was told before the run was killed
            trial.report(value, epoch)
        return trial.should_prune()

    return report


def distribution(axis: Override) -> "BaseDistribution":
    """Turn a sweep of Hydra's grammar into a distribution of Optuna: choice, range, interval, tag(log, interval)."""
    kinds, value = _optuna().distributions, axis.value()
    if isinstance(value, IntervalSweep):
        low, high, logarithmic = value.start, value.end, "log" in value.tags
        assert low is not None
        assert high is not None
        if low >= high or (logarithmic and low <= 0):
            raise DfdError(f"{axis.input_line}: an interval goes up, and with tag(log, ...) begins above 0")
        if isinstance(low, int) and isinstance(high, int):
            return kinds.IntDistribution(low, high - 1, log=logarithmic)  # Hydra's intervals are half open
        return kinds.FloatDistribution(low, high, log=logarithmic)
    if isinstance(value, RangeSweep) and isinstance(value.start, int) and isinstance(value.step, int):
        steps = sorted(value.range())
        if steps:
            return kinds.IntDistribution(steps[0], steps[-1], step=abs(value.step))
    words = [str(word) for word in axis.sweep_iterator(transformer=Transformer.encode)]
    if not words:
        raise DfdError(
            f"{axis.input_line} holds no value: a range goes from its start towards its end, which is left out"
        )
    return kinds.CategoricalDistribution(words)


def _example(values: "BaseDistribution") -> Any:
    return getattr(values, "low", None) if hasattr(values, "low") else values.choices[0]  # type: ignore[attr-defined]


def _storage(folder: Path) -> Any:
    """Open the journal: appended to under a lock that NFS has, one line at a time; SQLite has no such lock there."""
    optuna = _optuna()
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL)))


def mend(path: Path) -> None:
    """Cut off a last line that a full disk or a power cut left unfinished: Optuna would refuse the file for good.

    Only whoever leads the search does so, before its jobs begin: a line may also be unfinished because it is written.
    """
    content = path.read_bytes() if path.is_file() else b""
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
        log.warning("the last line of %s was incomplete and is left out", path)


def _sampler(options: DictConfig, seed: int) -> Any:
    samplers = _optuna().samplers
    made = {
        "tpe": lambda: samplers.TPESampler(seed=seed, n_startup_trials=options.startup),
        "random": lambda: samplers.RandomSampler(seed=seed),
    }
    return _chosen("sampler", options, made)


def _pruner(options: DictConfig) -> Any:
    pruners = _optuna().pruners
    made = {
        "median": lambda: pruners.MedianPruner(options.startup, options.warmup),
        "halving": lambda: pruners.SuccessiveHalvingPruner(min_resource=options.warmup),
        "none": pruners.NopPruner,
    }
    return _chosen("pruner", options, made)


def _chosen(key: str, options: DictConfig, made: Mapping[str, Callable[[], Any]]) -> Any:
    name = options[key]
    if name not in made:
        raise DfdError(f"hparams_search.{key}={name}: allowed are {', '.join(made)}{did_you_mean(name, made)}")
    return made[name]()


def _hopeless(study: "Study") -> bool:
    """Whether every trial failed so far, which means a wrong command rather than bad luck."""
    failed = [trial for trial in study.trials if trial.state.name == "FAIL"]
    if len(failed) < GIVEN_UP or len(failed) < len(study.trials):
        return False
    log.error("the search ends: its first %d trials all failed", len(failed))
    return True


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise DfdError('hparams_search=optuna needs Optuna: pip install -e ".[sweep]"') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
