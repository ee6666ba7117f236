"""Errors in one line: what happened and the next step, also where Hydra or OmegaConf say it in many."""

import re

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from dfd.cli.schema import ROOT_KEYS
from dfd.core.configs import config_dir
from dfd.core.errors import DfdError, did_you_mean


def in_one_line(error: Exception) -> str:
    """Return an error as one line: what the user can mend in its own words, the rest with its kind."""
    if isinstance(error, DfdError):
        return _own_words(error)
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return _explain(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _own_words(error: DfdError) -> str:
    """Return our message, also when a loader's worker wrapped it in its traceback."""
    return str(error).strip().splitlines()[-1].removeprefix(f"{DfdError.__module__}.{DfdError.__name__}: ")


def _explain(error: Exception) -> str:
    """Boil an error of Hydra or OmegaConf down to one line with the next step."""
    text = str(error).split("Config search path")[0]
    lines = [line.strip().rstrip(".") for line in text.splitlines()]
    if error.__cause__ is not None:
        lines += str(error.__cause__).splitlines()[:1]
    skip = ("full_key", "object_type", "reference_type", "To append to your config")
    line = " ".join(dict.fromkeys(line for line in lines if line and not line.startswith(skip)))
    unknown = re.search(r"Could not override '([\w.]+)'", line)
    hint = ""
    if unknown:
        at_fault = re.search(r"Key '(\w+)' (?:is )?not in", str(error.__cause__ or error))
        key = at_fault[1] if at_fault else unknown[1].rpartition(".")[2]
        added = f" (if its class takes it, add it: +{unknown[1]}=...)"
        hint = did_you_mean(key, _known_keys() - {key}) or added
    return f"{line}{hint}; --help lists the groups, --cfg job every key"


def _known_keys() -> set[str]:
    """Return every key that the roots and the shipped configurations know."""
    texts = [path.read_text(encoding="utf-8") for path in config_dir().rglob("*.yaml")]
    return {*ROOT_KEYS, *(key for text in texts for key in re.findall(r"^\s*(\w+):", text, re.MULTILINE))}
