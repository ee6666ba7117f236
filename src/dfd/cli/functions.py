"""The commands as functions with plain arguments: what a notebook or a script calls.

run = dfd.train("meso", "ffpp", {"trainer.max_epochs": 2})
dfd.evaluate(run.folder, "celebdf").value
for result in dfd.predict(run.folder, ["clip.mp4"]):
    print(result.path, result.verdict, result.probability)
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from dfd.cli.app import prepare
from dfd.cli.invocation import Invocation
from dfd.core.configs import config_dir

if TYPE_CHECKING:
    import pandas as pd

    from dfd.inference.verdict import FileResult

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What a command left: its folder, and its headline value (the best of `metric=`, or an AUC)."""

    folder: Path
    value: float

    @property
    def metrics(self) -> dict[str, Any]:
        """Everything that the evaluation wrote into `metrics.json`."""
        return json.loads((self.folder / "metrics.json").read_text())


def train(model: str = "efficientnet", data: str = "ffpp", values: Values | None = None) -> Outcome:
    """Train, test and report one run, as `dfd-train model=... data=...` does; `values` are configuration values."""
    from dfd.cli.train import train as command

    with _composed("train", {"model": model, "data": data}, values) as (cfg, called):
        value = command(cfg, called)
        return Outcome(Path(cfg.run_dir), value)


def evaluate(run: str | Path, data: str | None = None, values: Values | None = None) -> Outcome:
    """Evaluate a run on one dataset (None: its own) as `dfd-eval run=... data=...` does."""
    from dfd.cli.eval import evaluate_datasets

    choices = {"run": str(run)} | ({"data": data} if data else {})
    with _composed("eval", choices, values) as (cfg, called):
        (evaluated,) = evaluate_datasets(cfg, called)
        return Outcome(evaluated.folder, evaluated.value)


def predict(
    run: str | Path | Sequence[str | Path], files: str | Path | Sequence[str | Path], **options: Any
) -> "Iterator[FileResult]":
    """Judge files, folders and patterns with one run or the mean of several; `options` are those of `Engine.load`."""
    from dfd.inference.engine import Engine
    from dfd.inference.media import media_files

    inputs = [files] if isinstance(files, (str, Path)) else list(files)
    return Engine.load(run, **options).judge_all(media_files(inputs))


def preprocess(data: str, values: Values | None = None) -> None:
    """Cut faces, or run other stages, as `dfd-preprocess data=...` does."""
    from dfd.cli.preprocess import preprocess as command

    with _composed("preprocess", {"data": data}, values) as (cfg, called):
        command(cfg, called)


def report(folders: Sequence[str | Path]) -> "pd.DataFrame":
    """Return a row per evaluation below these run folders."""
    from dfd.evaluation import compare

    return compare.collect([Path(folder) for folder in folders])


@contextmanager
def _composed(name: str, choices: Mapping[str, str], values: Values | None) -> Iterator[tuple[DictConfig, Invocation]]:
    """Compose a command's configuration as Hydra does on the command line."""
    prepare()
    typed = [f"{key}={_text(value)}" for key, value in {**choices, **(values or {})}.items()]
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            cfg = compose(name, typed, return_hydra_config=True)
            called = Invocation(tuple(typed), dict(cfg.hydra.runtime.choices))
            with open_dict(cfg):
                cfg.pop("hydra")
            yield cfg, called
    finally:
        GlobalHydra.instance().hydra = before
        HydraConfig.instance().cfg = None


def _text(value: Any) -> str:
    """Return a value in Hydra's grammar of overrides."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_text(each) for each in value)}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_text(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (int, float)):
        return str(value)
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return text if text.replace("_", "").replace("-", "").isalnum() else f"'{text}'"
