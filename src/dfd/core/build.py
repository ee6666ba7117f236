"""Build objects from plain trees of `_target_` and arguments; check trees without building anything."""

import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from dfd.core.errors import DfdError, did_you_mean
from dfd.core.slots import SLOTS, Allowed, allowed, allowed_networks

__all__ = ["Allowed", "allowed", "allowed_networks", "build", "check", "locate"]

TARGET, PARTIAL = "_target_", "_partial_"
PLAIN = (str, bool, int, float)
OWN = Allowed()


def build(tree: Any, allow: Allowed = OWN, slot: str | None = None, /, **overrides: Any) -> Any:
    """Build what a tree describes: `{"_target_": "dfd.models.meso.MesoInception4", "size": 128}`.

    Nested trees are built first; `_partial_: true` gives a `functools.partial`. `slot` says what is expected here
    ("network", "index", ...); a tree cannot name anything else, nor anything that `allow` does not admit.
    """
    admitted = allow if slot is None else allow.only(slot)
    if isinstance(tree, Mapping):
        values = {key: build(value, admitted) for key, value in tree.items() if key not in (TARGET, PARTIAL)}
        if TARGET not in tree:
            return values
        target = admitted.locate(tree[TARGET])
        kwargs = values | overrides
        return partial(target, **kwargs) if tree.get(PARTIAL) else target(**kwargs)
    if isinstance(tree, (list, tuple)):
        return [build(value, admitted) for value in tree]
    return tree


def locate(path: str, allow: Allowed = OWN, slot: str | None = None) -> Callable[..., Any]:
    """Import the class or function at a dotted path, if it may be built here."""
    return (allow if slot is None else allow.only(slot)).locate(path)


def check(tree: Any, allow: Allowed = OWN, where: str = "") -> None:
    """Bind every `_target_` of a tree to its signature, without building anything.

    What stands under a slot's name (`data.index`, `model.network`, ...) must be of that kind. Unknown arguments and
    values of a wrong plain type are errors that name the place in the configuration. Missing arguments are not: some
    are only known when the object is built.
    """
    for place, slot, node in _targets(tree, where):
        try:
            target = locate(node[TARGET], allow, slot)
        except DfdError as error:
            raise DfdError(f"{place}: {error}") from error
        arguments = {key: value for key, value in node.items() if key not in (TARGET, PARTIAL)}
        _check_arguments(target, arguments, place)


def _targets(tree: Any, place: str, slot: str | None = None) -> Iterator[tuple[str, str | None, Mapping[str, Any]]]:
    """Yield (place, slot, node) of every node with a `_target_`; the outermost slot on the way holds for all below."""
    if isinstance(tree, Mapping):
        if TARGET in tree:
            yield place, slot, tree
        for key, value in tree.items():
            inner = slot or (key if key in SLOTS else None)
            yield from _targets(value, f"{place}.{key}" if place else str(key), inner)
    elif isinstance(tree, (list, tuple)):
        for position, value in enumerate(tree):
            yield from _targets(value, f"{place}[{position}]", slot)


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
    function = target.__init__ if inspect.isclass(target) else target
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
