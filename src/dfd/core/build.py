"""Build objects from plain trees of `_target_` and arguments, out of an allow-list; check trees without building."""

import importlib
import inspect
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from dfd.core.errors import DfdError, did_you_mean

TARGET, PARTIAL = "_target_", "_partial_"
OWN = ("dfd.",)
PLAIN = (str, bool, int, float)
LIBRARIES = ("pytorch_lightning.", "torch.optim.", "albumentations.", "torchvision.transforms.v2.")


def allowed(plugins: Iterable[str]) -> tuple[str, ...]:
    """Return what a configuration may build: our own classes, those we build upon, and those of the user's plugins."""
    return ("dfd.", *LIBRARIES, *(f"{name}." for name in plugins))


def allowed_networks(plugins: Iterable[str]) -> tuple[str, ...]:
    """Return what a checkpoint may build: networks, ours and those of the user's plugins."""
    return ("dfd.models.", *(f"{name}." for name in plugins))


def build(tree: Any, allow: Sequence[str] = OWN, **overrides: Any) -> Any:
    """Build what a tree describes: `{"_target_": "dfd.models.meso.MesoInception4", "size": 128}`.

    Nested trees are built first; `_partial_: true` gives a `functools.partial`. Only targets whose dotted path starts
    with a prefix in `allow` are imported, so that a checkpoint cannot name arbitrary code.
    """
    if isinstance(tree, Mapping):
        values = {key: build(value, allow) for key, value in tree.items() if key not in (TARGET, PARTIAL)}
        if TARGET not in tree:
            return values
        target = locate(tree[TARGET], allow)
        kwargs = values | overrides
        return partial(target, **kwargs) if tree.get(PARTIAL) else target(**kwargs)
    if isinstance(tree, (list, tuple)):
        return [build(value, allow) for value in tree]
    return tree


def locate(path: str, allow: Sequence[str] = OWN) -> Callable[..., Any]:
    """Import the object at a dotted path, if the allow-list lets it in."""
    if not path.startswith(tuple(allow)):
        raise DfdError(
            f"{path} may not be built here: allowed are {', '.join(allow)}* (a package of your own: plugins=[name])"
        )
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise DfdError(f"cannot import {module_name!r} for _target_ {path}: {error}") from error
    if not hasattr(module, name):
        raise DfdError(f"{module_name} has no {name!r}{did_you_mean(name, dir(module))}")
    return getattr(module, name)


def check(tree: Any, allow: Sequence[str] = OWN, where: str = "") -> None:
    """Bind every `_target_` of a tree to its signature, without building anything.

    Unknown arguments and values of a wrong plain type are errors that name the place in the configuration. Missing
    arguments are none: some are only known when the object is built.
    """
    for place, node in _targets(tree, where):
        target = locate(node[TARGET], allow)
        arguments = {key: value for key, value in node.items() if key not in (TARGET, PARTIAL)}
        _check_arguments(target, arguments, place)


def _targets(tree: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(tree, Mapping):
        if TARGET in tree:
            yield where, tree
        for key, value in tree.items():
            yield from _targets(value, f"{where}.{key}" if where else str(key))
    elif isinstance(tree, (list, tuple)):
        for position, value in enumerate(tree):
            yield from _targets(value, f"{where}[{position}]")


def _check_arguments(target: Callable[..., Any], arguments: Mapping[str, Any], place: str) -> None:
    parameters = inspect.signature(target).parameters
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    hints = _hints(target)
    for key, value in arguments.items():
        if key not in parameters and not open_ended:
            raise DfdError(f"{place}: {_name(target)} has no argument {key!r}{did_you_mean(key, parameters)}")
        if key in hints and not _fits(value, hints[key]):
            wanted = hints[key].__name__ if inspect.isclass(hints[key]) else str(hints[key]).replace("typing.", "")
            raise DfdError(f"{place}.{key}={value!r}: expected {wanted}, got {type(value).__name__}")


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    function = target.__init__ if inspect.isclass(target) else target  # type: ignore[misc]
    try:
        return get_type_hints(function)
    except Exception:  # a third party's annotation that cannot be resolved is no fault of the user's
        return {}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value can be meant for a type; anything but plain types is let through."""
    if isinstance(value, Mapping) and TARGET in value:
        return True
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        options = get_args(hint)
        plain = [option for option in options if option in PLAIN or get_origin(option) is Literal]
        if plain and isinstance(value, PLAIN):  # "float or Tensor": a word is neither
            options = tuple(plain)
        return any(_fits(value, option) for option in options)
    if origin is Literal:
        return value in get_args(hint)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (str, bool):
        return isinstance(value, hint)
    if hint is type(None):
        return value is None
    return True


def _name(target: Callable[..., Any]) -> str:
    return getattr(target, "__qualname__", str(target))
