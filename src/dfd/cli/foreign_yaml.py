"""Read a YAML file of a run folder, which a stranger may have written: plain, small, and asking for nothing."""

from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dfd.core.errors import DfdError

LARGEST = 4 * 2**20  # bytes
OURS = ("oc.select", "best_precision", "best_fused", "now")  # resolvers that only compute


def read_yaml(path: Path) -> DictConfig:
    """Return the mapping in a file; what it interpolates may refer to itself, but not to the environment."""
    if not path.is_file():
        raise DfdError(f"no file at {path}")
    try:
        if path.stat().st_size > LARGEST:
            raise DfdError(f"{path} is larger than {LARGEST >> 20} MiB: it is not a configuration")
        text = path.read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise DfdError(f"{path} repeats itself by aliases, which can unfold without end: write its values out")
        loaded = OmegaConf.load(path)
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException, RecursionError) as error:
        raise DfdError(f"{path} cannot be read as YAML ({' '.join(str(error).split())[:200]})") from error
    if not isinstance(loaded, DictConfig):
        raise DfdError(f"{path} holds a list, not a configuration")
    _check_interpolations(OmegaConf.to_container(loaded, resolve=False), path)
    return loaded


def _check_interpolations(value: Any, path: Path) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _check_interpolations(key, path)
            _check_interpolations(item, path)
    elif isinstance(value, list):
        for item in value:
            _check_interpolations(item, path)
    elif isinstance(value, str):
        for part in value.split("${")[1:]:
            name, colon, rest = part.partition("}")[0].partition(":")
            ours = name.strip() in OURS or (name.strip() == "oc.env" and rest.strip().startswith("DFD_"))
            if (colon and not ours) or not name.strip():
                raise DfdError(f"{path} asks for {value[:80]!r}: a run's own files may not read the environment")
