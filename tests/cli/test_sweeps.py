"""Sweeps: searches that go on after a kill, jobs that fail alone, launchers, and a run that is run again."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dfd.cli.app import sweep_folder
from dfd.cli.invocation import Invocation
from dfd.cli.recipe import training_hash
from dfd.cli.sweeps import jobs
from dfd.cli.sweeps.launchers import Joblib, Submitit
from dfd.cli.sweeps.search import ask, distribution, mend, open_study, settle
from dfd.cli.sweeps.summary import Comparison, note_evaluations
from dfd.core.errors import DfdError
from dfd.metrics.direction import lower_is_better
from tests.cli.conftest import QUICK, ROOT, run

OPTIONS = OmegaConf.create(
    {"sampler": "tpe", "startup": 2, "pruner": "median", "warmup": 1, "retries": 1, "seed": 0, "trials": 5}
)
TOY = '''
"""A command as light as can be: its value is a parabola, and it can wait, fail, or kill itself."""
import os, signal, sys, time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from dfd.cli import app
from dfd.cli.schema import HparamsSearch

@dataclass
class Toy:
    x: float = 0.0
    kind: str = "good"
    wait: float = 0.0
    metric: str = "val/auc"
    sweep: Any = None
    ckpt_path: Any = None
    model: Any = None
    test: bool = True
    paths: Any = field(default_factory=lambda: {"output_dir": "outputs"})
    optimizer: Any = field(default_factory=lambda: {"lr": 0.1, "weight_decay": 0.1})
    hparams_search: HparamsSearch = field(default_factory=HparamsSearch)
    defaults: list = field(default_factory=lambda: [
        "_self_", "_hydra", {"optional augment": None}, {"optional hparams_search": None}])

def toy(cfg, called):
    folder = Path(HydraConfig.get().runtime.output_dir)
    with (folder / "starts.txt").open("a") as file:
        file.write(f"{os.environ.get('CUDA_VISIBLE_DEVICES', '-')} {os.getpid()}\\n")
    time.sleep(cfg.wait)
    if cfg.kind == "bad":
        raise ValueError("this one is bad")
    if cfg.kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return 1 - (cfg.x - 0.3) ** 2

if __name__ == "__main__":
    ConfigStore.instance().store(name="toy", node=Toy)
    app.command("toy", toy)()
'''


def toy(folder: Path, *words: str, **options) -> subprocess.CompletedProcess:
    (folder / "toy.py").write_text(TOY)
    command = [sys.executable, "toy.py", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False, **options)


def the_sweep(folder: Path) -> Path:
    (sweep,) = (folder / "outputs" / "sweeps").iterdir()
    return sweep


def axis(text: str):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=interval(0.5,2)", ("FloatDistribution", 0.5, 2.0, False)),
        ("a=tag(log, interval(1e-4, 1e-2))", ("FloatDistribution", 1e-4, 1e-2, True)),
        ("a=int(interval(1, 5))", ("IntDistribution", 1, 4, False)),
        ("a=int(tag(log, interval(1, 65)))", ("IntDistribution", 1, 64, True)),
        ("a=range(1,8,3)", ("IntDistribution", 1, 7, False)),
        ("a=range(8,2,-2)", ("IntDistribution", 4, 8, False)),
    ],
)
def test_hydras_axes_become_distributions(text, expected):
    found = distribution(axis(text))
    assert (type(found).__name__, found.low, found.high, found.log) == expected


@pytest.mark.parametrize("text", ["a=choice(x,y)", "a=x,y", "a=range(0.0,1.0,0.5)"])
def test_choices_stay_words(text):
    found = distribution(axis(text))
    assert list(found.choices) == (["0.0", "0.5"] if "range" in text else ["x", "y"])


@pytest.mark.parametrize("text", ["a=interval(2,1)", "a=tag(log, interval(0,1))"])
def test_an_interval_that_is_none_is_said(text):
    with pytest.raises(DfdError, match="an interval goes up"):
        distribution(axis(text))


@pytest.mark.parametrize("text", ["a=range(4,4)", "a=range(2,8,-2)", "a=range(1.0,1.0,0.5)"])
def test_an_empty_range_is_said(text):
    with pytest.raises(DfdError, match="holds no value"):
        distribution(axis(text))


@pytest.mark.parametrize(("key", "value", "said"), [("sampler", "grid", "tpe"), ("pruner", "medina", "'median'")])
def test_a_sampler_or_pruner_that_is_none_is_said(tmp_path, key, value, said):
    with pytest.raises(DfdError, match=f"hparams_search.{key}={value}: allowed are .*{said}"):
        open_study(tmp_path, OmegaConf.merge(OPTIONS, {key: value}), "val/auc")


def search(folder: Path, stop_after: int | None = None, trials: int = 6) -> list[dict]:
    """A search in this process, whose study is opened anew before every trial if it is interrupted."""
    space = {"x": distribution(axis("x=interval(0,1)"))}
    study = open_study(folder, OPTIONS, "val/auc")
    while len(study.trials) < trials:
        if stop_after is not None and len(study.trials) >= stop_after:
            study = open_study(folder, OPTIONS, "val/auc")
        trial = ask(study, space, OPTIONS)
        place = folder / f"trial_{trial.number}"
        place.mkdir()
        jobs.write(place, jobs.Job(trial.number, [], jobs.DONE, 1 - (trial.params["x"] - 0.3) ** 2))
        settle(study, folder, 1, {})
    return [trial.params for trial in study.trials]


def test_an_interrupted_search_proposes_what_an_uninterrupted_one_does(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert search(tmp_path / "a") == search(tmp_path / "b", stop_after=2)


@pytest.mark.parametrize(
    ("job", "state"),
    [
        (jobs.Job(0, status=jobs.DONE, value=0.8), "COMPLETE"),
        (jobs.Job(0, status=jobs.DONE, value=float("nan")), "FAIL"),
        (jobs.Job(0, status=jobs.PRUNED, value=0.5), "PRUNED"),
        (jobs.Job(0, status=jobs.FAILED, reason="out of memory"), "FAIL"),
        (jobs.Job(0, status=jobs.RUNNING, starts=1), "RUNNING"),
        (jobs.Job(0, status=jobs.STOPPED, starts=1), "RUNNING"),
        (jobs.Job(0, status=jobs.STOPPED, starts=3), "RUNNING"),
        (jobs.Job(0, status=jobs.RUNNING, starts=2), "FAIL"),
        (None, "RUNNING"),
    ],
)
def test_what_failed_is_told_from_what_was_killed(tmp_path, job, state):
    study = open_study(tmp_path, OPTIONS, "val/auc")
    ask(study, {"x": distribution(axis("x=interval(0,1)"))}, OPTIONS)
    if job is not None:
        (tmp_path / "trial_0").mkdir()
        jobs.write(tmp_path / "trial_0", job)
    again = settle(study, tmp_path, 1, {})
    assert study.trials[0].state.name == state
    assert [trial.number for trial in again] == ([0] if state == "RUNNING" else [])
    if state == "FAIL":
        assert study.trials[0].user_attrs["reason"]
        assert jobs.read(tmp_path / "trial_0").status == jobs.FAILED


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 60))
def test_a_journal_that_ends_in_half_a_line_is_mended(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("study")
    study = open_study(folder, OPTIONS, "val/auc")
    study.tell(ask(study, {"x": distribution(axis("x=interval(0,1)"))}, OPTIONS).number, 0.5)
    journal = folder / "optuna.journal"
    content = journal.read_bytes()
    journal.write_bytes(content + content.splitlines()[0][:cut])
    mend(journal)
    study = open_study(folder, OPTIONS, "val/auc")
    assert study.best_value == 0.5
    ask(study, {"x": distribution(axis("x=interval(0,1)"))}, OPTIONS)
    assert len(open_study(folder, OPTIONS, "val/auc").trials) == 2


def test_losses_are_searched_downwards():
    assert lower_is_better("val/loss")
    assert not lower_is_better("val/auc")


OVERRIDES = ["sweep=s", "seed=1", "data.root=/data/A", "hparams_search.trials=5"]


@pytest.mark.parametrize(
    ("overrides", "same"),
    [
        (["data.root=/data/A", "seed=1", "sweep=s", "hparams_search.trials=9"], True),
        (["sweep=s", "seed=1", "data.root=/data/B"], False),
        (["sweep=s", "seed=1"], False),
    ],
)
def test_a_sweep_takes_no_results_of_another_command(overrides, same):
    old = jobs.Job(0, OVERRIDES, jobs.DONE, 0.5, folder="outputs/sweeps/s/0_seed=1")
    jobs.check_owner(jobs.Job(0, [], jobs.DONE), overrides)  # written before overrides were
    if same:
        jobs.check_owner(old, overrides)
        return
    with pytest.raises(DfdError, match=r"sweep=s belongs to another command: .*data.root=/data/A.* choose another"):
        jobs.check_owner(old, overrides)


def test_what_a_search_chooses_tells_no_commands_apart():
    trial = jobs.Job(1, ["model=meso", "optimizer.lr=0.1", "hparams_search.trial=1"], folder="outputs/sweeps/s/trial_1")
    jobs.check_owner(trial, ["model=meso"], {"optimizer.lr"})
    with pytest.raises(DfdError, match="model=meso where this one has model=vit"):
        jobs.check_owner(trial, ["model=vit"], {"optimizer.lr"})


def test_long_names_of_jobs_are_told_apart():
    long = "_".join(f"some.long.key{i}=1" for i in range(8))
    names = {sweep_folder(0, f"{long}_seed={seed}") for seed in (1, 2)}
    assert len(names) == 2
    assert {len(name) for name in names} == {100}
    assert sweep_folder(3, "seed=1") == "3_seed-1"


def test_starts_that_were_stopped_are_no_deaths(tmp_path):
    called = Invocation(sweep=tmp_path.parent, job=tmp_path.name)
    for status, starts in ((jobs.STOPPED, 2), (jobs.RUNNING, 3)):
        jobs.write(tmp_path, jobs.Job(0, status=status, starts=2))
        jobs.run_job(lambda cfg: 1.0, OmegaConf.create({"ckpt_path": None}), called, str)
        assert jobs.read(tmp_path).starts == starts


def test_a_table_that_cannot_be_written_hides_no_failure(tmp_path, monkeypatch, caplog):
    for number, status in enumerate((jobs.DONE, jobs.FAILED)):
        (tmp_path / str(number)).mkdir()
        jobs.write(tmp_path / str(number), jobs.Job(number, status=status, reason="bad"))
    note_evaluations(tmp_path, [tmp_path / "gone"])

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr("dfd.cli.sweeps.summary._show", broken)
    with pytest.raises(SystemExit, match="3"):
        Comparison().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}}))
    assert "no table of jobs: OSError: disk full" in caplog.text
    assert "1 noted evaluations are gone" in caplog.text
    assert "job 1 failed: bad" in caplog.text


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_with_the_same_command(tmp_path):
    words = ["hparams_search=optuna", "x=interval(0,1)", "hparams_search.trials=6", "wait=0.3"]
    (tmp_path / "toy.py").write_text(TOY)
    first = subprocess.Popen([sys.executable, "toy.py", *words], cwd=tmp_path, stderr=subprocess.DEVNULL)
    for _ in range(1200):
        if list(tmp_path.glob("outputs/sweeps/*/trial_2/starts.txt")):
            break
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    sweep = the_sweep(tmp_path)
    assert jobs.read(sweep / "trial_2").status == jobs.RUNNING
    done = toy(tmp_path, *words)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "trials that were interrupted go on: 2" in done.stderr, done.stderr
    table = pd.read_csv(the_sweep(tmp_path) / "sweep.csv")
    assert sorted(table["job"]) == list(range(6))
    assert set(table["status"]) == {"done"}
    starts = [len((sweep / f"trial_{n}" / "starts.txt").read_text().splitlines()) for n in range(6)]
    assert starts == [1, 1, 2, 1, 1, 1]
    for name in ("parameters.png", "parameters.svg", "sweep.html"):
        assert (sweep / name).stat().st_size > 1000
    more = toy(tmp_path, *words[:2], "hparams_search.trials=7", "wait=0.3")
    assert more.returncode == 0, more.stderr[-2000:]
    assert len(jobs.read_all(the_sweep(tmp_path))) == 7


@pytest.mark.slow
def test_a_job_that_fails_stops_no_other_and_is_listed(tmp_path):
    done = toy(tmp_path, "-m", "kind=good,bad", "x=0.1,0.2", "sweep=mine")
    assert done.returncode == 3
    assert "job 2 failed: ValueError: this one is bad" in done.stderr
    assert "Traceback" not in done.stderr
    table = pd.read_csv(the_sweep(tmp_path) / "sweep.csv")
    assert table["status"].tolist() == ["done", "done", "failed", "failed"]
    assert table["x"].tolist()[:2] == [0.2, 0.1]  # the best first
    other = toy(tmp_path, "-m", "kind=good,bad", "x=0.1,0.2", "sweep=mine", "paths.output_dir=./outputs")
    assert other.returncode == 2
    assert other.stderr.strip().splitlines()[-1].startswith("error: sweep=mine belongs to another command")
    again = toy(tmp_path, "-m", "kind=good,bad", "x=0.1,0.2", "sweep=mine")  # what failed is tried again, no more
    starts = [len(p.read_text().splitlines()) for p in sorted(the_sweep(tmp_path).glob("*/starts.txt"))]
    assert starts == [1, 1, 2, 2]
    assert again.returncode == 3


@pytest.mark.parametrize(
    ("gpus", "options", "slots"),
    [
        ("", {}, 1),
        ("", {"n_jobs": -1}, joblib.cpu_count()),
        ("0", {"n_jobs": -1, "gpus_per_job": 2}, 1),
        ("0,1", {"n_jobs": -1}, 2),
        ("0,1,2,3", {"gpus_per_job": 2}, 2),
        ("", {"n_jobs": 3}, 3),
    ],
)
def test_joblib_counts_its_slots(monkeypatch, gpus, options, slots):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    launcher = Joblib(**options)
    launcher.ready()
    assert launcher.slots == slots


@pytest.mark.parametrize("options", [{"n_jobs": 0}, {"n_jobs": -2}, {"gpus_per_job": 0}])
def test_slots_that_are_none_are_said(options):
    with pytest.raises(DfdError, match=r"hydra\.launcher\.\w+=-?\d: allowed are 1 and above"):
        Joblib(**options).ready()


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        ["hydra/launcher=submitit", "hydra.launcher.cluster=local", "hydra.launcher.parameters.gpus_per_node=0"],
        ["hydra/launcher=ray"],
    ],
    ids=["joblib", "submitit", "ray"],
)
def test_every_launcher_does_all_jobs_though_one_is_killed(tmp_path, launcher):
    if "ray" in launcher[0]:
        pytest.importorskip("ray")
    done = toy(tmp_path, "-m", "kind=killed,good", "x=0.3", "sweep=mine", *launcher)
    assert done.returncode == 3, done.stderr[-3000:]
    found = jobs.read_all(the_sweep(tmp_path))
    assert [job.status for job in found] == ["failed", "done"], done.stderr[-3000:]
    assert found[1].value == pytest.approx(1.0)
    assert "its process died" in found[0].reason


@pytest.mark.slow
def test_joblib_gives_every_job_a_gpu_of_its_own(tmp_path):
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "3,5"}
    done = toy(tmp_path, "-m", "x=0.1,0.2,0.3", "wait=1", "hydra/launcher=joblib", env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = [path.read_text().split()[0] for path in the_sweep(tmp_path).glob("*/starts.txt")]
    assert set(seen) == {"3", "5"}


@pytest.mark.slow
def test_a_search_over_a_launcher_gives_a_trial_up_that_dies_again_and_again(tmp_path):
    words = [
        "hparams_search=optuna",
        "x=interval(0,1)",
        "kind=killed",
        "hparams_search.trials=5",
        "hydra/launcher=joblib",
    ]
    done = toy(tmp_path, *words, "hparams_search.retries=1", "hydra.launcher.n_jobs=3")
    assert done.returncode == 3
    assert "its first 3 trials all failed" in done.stderr
    assert {job.reason for job in jobs.read_all(the_sweep(tmp_path))} == {"its process died 2 times"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("python train.py -m model=meso optimizer.lrr=1,2", "did you mean 'lr'"),
        ("python train.py -m model=meso optimizr.lr=1,2", "did you mean 'optimizer'"),
        ("python train.py -m hparams_search=optuna model=meso 'optimizer.lrr=interval(0,1)'", "did you mean 'lr'"),
        ("python train.py -m hparams_search=optuna model=meso 'optimizer.lr=interval(1,0)'", "an interval goes up"),
        (
            "python train.py -m hparams_search=optuna model=meso hparams_search.jobs=-1",
            "jobs=-1: allowed are 1 and above",
        ),
        ("python train.py -m model=meso 'optimizer.lr=interval(0,1)'", "does not support sweep type"),
        ("python train.py -m model=meso,vit hydra/launcher=submitit", "no SLURM here"),
        ("python train.py model=meso trainer.accelerator=gpu", "trainer.accelerator=gpu: no such device here"),
        ("python train.py model=meso trainer.accelerator=abacus", "allowed are auto, gpu, cpu"),
        ("python train.py model=meso trainer=cpu trainer.precision=16-mixed", "a CPU cannot do it"),
        ("python train.py model=meso trainer.precision=8-bit", "allowed are 32-true"),
        ("python train.py run=nowhere", "no run at nowhere"),
        ("python train.py run=outputs", "holds no recipe.yaml"),
        ("python train.py run=outputs/demo experiment=demo", "give one of them"),
        ("python train.py model=meso logger=null", "leave a group out with ~group"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, command, message):
    (tmp_path / "outputs").mkdir()
    done = run(tmp_path, command, env={"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 2, done.stderr[-2000:]
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in done.stderr


def test_a_recipe_is_all_of_a_training_but_its_seed(tmp_path):
    def recipe(**config):
        (tmp_path / "recipe.yaml").write_text(OmegaConf.to_yaml({"choices": {}, "config": config}))
        return training_hash(tmp_path)

    assert training_hash(tmp_path) is None
    first = recipe(seed=1, optimizer={"lr": 0.1}, metric="val/auc")
    assert recipe(seed=2, optimizer={"lr": 0.1}) == first != recipe(seed=1, optimizer={"lr": 0.001})


@pytest.mark.slow
def test_a_run_is_run_again_with_the_same_result_and_with_another_value(workplace):
    demo = workplace / "outputs/demo"
    assert {"config.yaml", "recipe.yaml", "facts.json"} <= {path.name for path in demo.iterdir()}
    facts = json.loads((demo / "facts.json").read_text())
    assert {"git", "python", "torch"} <= set(facts["environment"])
    assert len(facts["manifest"]) > 5
    done = run(workplace, "python train.py run=outputs/demo name=again test=false")
    assert done.returncode == 0, done.stderr[-2000:]
    again = workplace / "outputs/again"
    pd.testing.assert_frame_equal(pd.read_csv(demo / "metrics.csv"), pd.read_csv(again / "metrics.csv"))
    done = run(workplace, "python train.py run=outputs/demo name=other test=false seed=7 optimizer=sgd")
    assert done.returncode == 0, done.stderr[-2000:]
    before, now = (OmegaConf.load(workplace / "outputs" / name / "config.yaml") for name in ("demo", "other"))
    assert (now.seed, now.optimizer["_target_"], now.data) == (7, "torch.optim.SGD", before.data)
    assert str(workplace / "outputs/other") in now.callbacks.checkpoint.dirpath
    hashes = [training_hash(workplace / "outputs" / name) for name in ("demo", "again", "other")]
    assert hashes[0] == hashes[1] == facts["recipe"] != hashes[2]
    shutil.rmtree(again)


@pytest.mark.slow
def test_trainings_on_several_processes_ask_for_a_launcher(workplace):
    command = "python train.py -m model=meso data=ffpp seed=1 trainer=ddp trainer.devices=2 trainer.accelerator=cpu"
    done = run(workplace, command, *QUICK)
    assert done.returncode == 3
    assert "add hydra/launcher=joblib" in done.stderr


@pytest.mark.slow
def test_a_search_trains_and_prunes(workplace):
    command = "python train.py -m hparams_search=optuna model=meso data=ffpp hparams_search.trials=4 sweep=pruned"
    wide = "optimizer.lr=choice(0.003,0.0)"  # what does not learn is given up
    options = ["hparams_search.startup=1", "hparams_search.warmup=0", "trainer.max_epochs=2", wide]
    done = run(workplace, command, *(word for word in QUICK if "max_epochs" not in word), *options)
    assert done.returncode == 0, done.stderr[-2000:]
    table = pd.read_csv(workplace / "outputs/sweeps/pruned/sweep.csv")
    assert set(table["status"]) <= {"done", "pruned"}
    assert len(table) == 4
    assert (ROOT / "configs/hparams_search/optuna.yaml").is_file()


def scripts_of_the_docs() -> list[str]:
    text = (ROOT / "docs/cluster.md").read_text()
    return re.findall(r"```bash\n(#!/bin/bash\n.*?)```", text, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "argument", "said"),
    [
        (
            next(text for text in scripts_of_the_docs() if "train.py" in text),
            "x=0.3",
            "best: outputs/sweeps/job-0/0_x-0.3",
        ),
        (next(text for text in scripts_of_the_docs() if "preprocess.py" in text), "data=dfdc", "shard: 0/50"),
    ],
    ids=["train", "faces"],
)
def test_the_batch_scripts_of_the_docs_run_dry(tmp_path, script, argument, said):
    (tmp_path / "job.sbatch").write_text(script)
    (tmp_path / "toy.py").write_text(TOY)
    stub = tmp_path / "srun"  # a small command stands in for the training, the faces are only composed
    stub.write_text(
        f'#!/bin/bash\n[ "$2" = train.py ] && exec {sys.executable} toy.py "${{@:3}}"\n'
        f'exec {sys.executable} {ROOT}/"${{@:2}}" --cfg job\n'
    )
    stub.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["bash", "job.sbatch", argument]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert said in done.stdout


def test_a_slurm_array_asks_for_what_the_configuration_says(tmp_path, monkeypatch):
    submitit = pytest.importorskip("submitit")
    (tmp_path / "srun").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    node = OmegaConf.load(ROOT / "configs/hydra/launcher/submitit.yaml")
    launcher = Submitit(node.cluster, OmegaConf.to_container(node.parameters))
    launcher.ready()
    executor = submitit.AutoExecutor(folder=tmp_path / "%j", cluster="slurm")
    executor.update_parameters(name="dfd", **launcher.parameters)
    text = executor._executor._make_submission_file_text("command", "uid")
    for line in ("--gpus-per-node=1", "--cpus-per-task=8", "--time=720", "--mem=32GB", "--ntasks-per-node=1"):
        assert f"#SBATCH {line}" in text
    assert launcher.slots == 8


def test_the_table_of_sizes_in_the_docs_is_what_the_script_prints():
    done = subprocess.run([sys.executable, str(ROOT / "scripts/sizing.py")], capture_output=True, text=True, check=True)
    assert done.stdout in (ROOT / "docs/cluster.md").read_text()
