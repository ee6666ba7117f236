"""`--help` of the commands that Hydra composes, from their yaml and schema alone: composing takes seconds."""

import inspect
import re
from typing import Any

from omegaconf import OmegaConf

from dfd.cli.exits import EXIT_STATUSES
from dfd.cli.schema import ROOTS, Root
from dfd.core.configs import config_dir

OPTION = re.compile(r"^    (\w+): .*? = (?:field\(default_factory=)?(.*?)\)?(?:  # (.*))?$", re.MULTILINE)
FOOTER = """Everything is a config value: override with key=value, choose with group=name, sweep with -m group=a,b.
Show the whole configuration without running: --cfg job.  Your own configs: --config-dir FOLDER."""


def help_of(name: str) -> str:
    """Return what `--help` of a command prints."""
    command = OmegaConf.load(config_dir() / f"{name}.yaml")
    text: Any = OmegaConf.to_container(command.help, resolve=True)
    parts = [
        text["text"].rstrip(),
        f"== Options ==\n{_options(name)}",
        f"== Groups ==\n{text['groups']}",
        FOOTER,
        EXIT_STATUSES,
    ]
    return "\n\n".join(parts)


def _options(name: str) -> str:
    """Return the options of a command's schema that have an explanation, one a line."""
    found = [match for kind in (ROOTS[name], Root) for match in OPTION.findall(inspect.getsource(kind)) if match[2]]
    shown = [(f"{key}={_default(default)}", words) for key, default, words in found]
    width = max(len(option) for option, _ in shown)
    return "\n".join(f"{option:{width}}  {words}" for option, words in shown)


def _default(text: str) -> str:
    known = {"MISSING": "...", "None": "null", "True": "true", "False": "false", "dict": "{}", "list": "[]"}
    return known.get(text, text.removeprefix("lambda: ").strip('"').replace('"', ""))
