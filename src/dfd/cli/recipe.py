"""`python train.py run=<folder>`: the configuration that a run folder holds is composed from, like any other."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from dfd.cli.foreign_yaml import read_yaml
from dfd.cli.invocation import Invocation
from dfd.cli.schema import Train
from dfd.core.errors import DfdError

FILE = "recipe.yaml"  # beside config.yaml, which holds the values that came of it
PRIMARY = "train_again"
OF_ONE_RUN = ("run", "name", "run_dir", "ckpt_path", "sweep", "hparams_search")  # say where and how, not what
TRAINING = ("model", "data", "optimizer", "scheduler", "augment", "trainer", "callbacks", "teacher", "shuffle_labels")
LOCAL = {f"pytorch_lightning.loggers.{name}" for name in ("TensorBoardLogger", "CSVLogger")}  # what leaves nowhere
CHOICE = re.compile(r"[\w/]+=[\w.-]+")
OPTIONAL = ("hparams_search", "debug")  # groups that may be laid over a stored configuration


def write_recipe(folder: Path, cfg: DictConfig, called: Invocation) -> None:
    """Keep a configuration as it was composed: which choice of each group, values, and what refers to what."""
    config = {key: value for key, value in _plain(cfg).items() if key not in OF_ONE_RUN}
    choices = {k: v for k, v in called.choices.items() if "/" not in k and k not in OPTIONAL}
    before = _read(Path(cfg.run))[0] if cfg.run else {}  # this command chose only what it changed
    recipe = OmegaConf.to_yaml({"choices": {**before, **choices}, "config": config})
    (folder / FILE).write_text(recipe, encoding="utf-8")


def training_hash(folder: Path) -> str | None:
    """Return eight hex digits over how a run was trained but for its seed; None where its folder does not say."""
    if not (folder / FILE).is_file():
        return None
    _, config = _read(folder)
    settings = json.dumps({key: config.get(key) for key in TRAINING}, sort_keys=True, default=str)
    return hashlib.sha256(settings.encode()).hexdigest()[:8]


def differences(folder: Path, cfg: DictConfig) -> list[str]:
    """Return the keys of training in which a run folder's recipe and a composed configuration differ."""
    if not (folder / FILE).is_file():
        return []
    before, now = (_flat({key: config.get(key) for key in TRAINING}) for config in (_read(folder)[1], _plain(cfg)))
    return sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found


def primary(arguments: Sequence[str]) -> str | None:
    """Make the configuration of the run that the command names with `run=` a primary one; return its name."""
    given = _given(arguments)
    if not given.get("run"):
        return None
    if "experiment" in given:
        raise DfdError("experiment= and run= are whole recipes both: give one of them")
    choices, config = _read(Path(given["run"]))
    changed = [group for group in choices if group in given]
    defaults = [
        "train_schema",
        "_hydra",
        "_self_",
        *({group: choices[group]} for group in changed),
        *({f"optional {group}": None} for group in OPTIONAL),
    ]
    _check_trust(config, given)
    kept = {key: value for key, value in config.items() if key not in (*changed, "plugins")}
    ConfigStore.instance().store(name=PRIMARY, node={"defaults": defaults, **kept})
    return PRIMARY


def _read(folder: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    if not folder.is_dir():
        raise DfdError(f"no run at {folder}: give a run folder (outputs/...)")
    path = folder / FILE
    if not path.is_file():
        raise DfdError(f"{folder} holds no {FILE}: is it the folder of a training?")
    recipe = _plain(read_yaml(path))
    choices, config = recipe.get("choices"), recipe.get("config")
    if not isinstance(choices, dict) or not isinstance(config, dict):
        raise DfdError(f"{path} is not a recipe: it holds no choices and config")
    if not all(isinstance(v, str | None) and CHOICE.fullmatch(f"{k}={v}") for k, v in choices.items()):
        raise DfdError(f"{path} chooses what is not the name of a configuration: {choices}")
    strangers = set(config) - {field.name for field in fields(Train)}
    if strangers:  # "hydra" and "defaults" among them would have Hydra build and load for whoever wrote the file
        raise DfdError(f"{path} sets {', '.join(sorted(map(str, strangers)))}, which a recipe does not")
    return choices, config


def _check_trust(config: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse what only the user may decide, not the file that he was given: whose code runs, and who is told."""
    plugins = config.get("plugins") or []
    if plugins and "plugins" not in given:
        raise DfdError(
            f"this recipe builds from packages of its author's, {plugins}: if you trust them, say so with "
            f"plugins=[{','.join(str(name) for name in plugins)}]"
        )
    loggers = config.get("logger")
    targets = {node.get("_target_") for node in loggers.values() if isinstance(node, dict)} if loggers else set()
    if targets - LOCAL and "logger" not in given:
        others = ", ".join(map(str, targets - LOCAL))
        raise DfdError(f"this recipe sends what it logs to {others}: if you want that, choose it with logger=")


def _given(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the overrides of a command line by their key."""
    texts = [text for text in arguments if text.startswith("~") or ("=" in text and not text.startswith("-"))]
    try:
        parsed = OverridesParser.create().parse_overrides(texts)
    except HydraException:
        return {}  # Hydra says what is wrong with them
    if any(each.key_or_group == "run" and each.is_sweep_override() for each in parsed):
        raise DfdError("run= names one run, whose configuration is composed from: sweep other keys")
    return {each.key_or_group: None if each.is_sweep_override() else each.value() for each in parsed}


def _plain(cfg: Any) -> dict[str, Any]:
    plain = OmegaConf.to_container(cfg, resolve=False, enum_to_str=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
