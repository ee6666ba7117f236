"""When the rendered sample stands in for a dataset: say so, and scale the run down to what it needs."""

from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from dfd.cli.invocation import Invocation
from dfd.preprocess.dataset import ONLY_RENDERED, Source

BANNER = """
{line}
{what}{scaled}{line}
"""
STAND_IN = """  No {title} found, and none was named: the rendered SAMPLE stands in for it.
  Its heads are drawn, so its numbers say nothing about real deepfakes.
  Use the real one: data.root=/path/to/{name}
"""
RENDERED = """  {title}: a RENDERED dataset. Its heads are drawn, so its numbers say nothing about
  real deepfakes; it answers one question about a detector.
"""


def scale_down(cfg: DictConfig, called: Invocation) -> dict[str, Any]:
    """Apply `cfg.sample` to everything that the user has not set; return what was changed."""
    untouched = _defaults(called)
    given = called.typed
    changed: dict[str, Any] = {}
    for key, value in cfg.sample.items():
        parent, _, name = str(key).rpartition(".")
        if name not in (OmegaConf.select(cfg, parent) if parent else cfg):
            continue  # of another kind of dataset, which says for itself that it does not fit
        current = OmegaConf.select(cfg, key)
        if current == value or _overlaps(key, given) or current != OmegaConf.select(untouched, key):
            continue
        OmegaConf.update(cfg, key, value, merge=False)  # a whole node takes the place of the other
        changed[str(key)] = value
    return changed


def banner(title: str, source: Source, changed: dict[str, Any]) -> str:
    """Return the banner, with what was scaled down and how to prevent it."""
    scaled = "".join(f"    {key}={value}\n" for key, value in changed.items())
    if scaled:
        scaled = f"  Scaled down for it (set a value yourself and it is left alone):\n{scaled}"
    what = RENDERED if source.name in ONLY_RENDERED else STAND_IN
    return BANNER.format(line="=" * 78, what=what.format(title=title, name=source.name), scaled=scaled)


def _defaults(called: Invocation) -> DictConfig:
    """Compose what this model, data and experiment would be had the user set nothing else."""
    chosen = {group: called.choice(group) for group in ("model", "data", "experiment")}
    picked = [f"{group}={choice}" for group, choice in chosen.items() if choice]
    return compose("train", overrides=picked)


def _overlaps(key: str, given: set[str]) -> bool:
    return any(
        key == other or key.startswith(f"{other}.") or other.startswith(f"{key}.")
        for other in given - {"model", "data", "experiment"}
    )
