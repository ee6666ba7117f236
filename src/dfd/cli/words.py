"""Options of commands that have no configuration groups: `key=value` words over a dataclass, and other words."""

from collections.abc import Sequence
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dfd.core.errors import DfdError, did_you_mean

Options = TypeVar("Options")


def read_words(kind: type[Options], words: Sequence[str]) -> tuple[list[str], Options]:
    """Return the words without `=`, and the options that the others set; a list is written [a,b]."""
    given = [word for word in words if "=" in word and not word.startswith(("-", "/", "."))]
    others = [word for word in words if word not in given]
    unknown = next((word for word in others if word.startswith("-")), None)
    if unknown is not None:
        raise DfdError(f"{unknown}: options are written key=value; --help lists them")
    schema = OmegaConf.structured(kind)
    try:
        merged = OmegaConf.merge(schema, *[_one(schema, word) for word in given])
        options: Any = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        raise DfdError(f"{f'{key}: ' if key else ''}{str(error).splitlines()[0]}; --help lists the options") from error
    return others, options


def _one(schema: Any, word: str) -> Any:
    key, _, value = word.partition("=")
    top = key.partition(".")[0]
    if top not in schema:
        raise DfdError(f"{key}: no such option{did_you_mean(top, [str(name) for name in schema])}; --help lists them")
    if OmegaConf.is_list(schema[top]) and not value.startswith("["):
        return OmegaConf.create({key: [value]})
    return OmegaConf.from_dotlist([word])
