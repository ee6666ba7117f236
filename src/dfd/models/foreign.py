"""Weights of other code go into a network whole, or not at all with a list of what does not fit."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from dfd.core.errors import DfdError
from dfd.models.base import Detector

LISTED = 6


def load_whole(
    network: Detector, state: Mapping[str, Tensor], source: str, what: str = "", lacking: Iterable[str] = ()
) -> None:
    """Load weights under our names and say where they come from; `lacking` are missed already by their own names."""
    own = network.state_dict()
    missing = [*lacking, *sorted(own.keys() - state.keys())]
    unexpected = sorted(state.keys() - own.keys())
    shared = sorted(own.keys() & state.keys())
    shapes = [f"{key} {tuple(state[key].shape)}" for key in shared if own[key].shape != state[key].shape]
    if missing or unexpected or shapes:
        raise DfdError(
            f"{source} does not fit{what and ' '}{what}: missing {some(missing)}; unexpected {some(unexpected)}; "
            f"of another shape {some(shapes)}"
        )
    network.load_state_dict(state)
    network.initialised_from = source


def some(names: Iterable[str]) -> str:
    """Name the first of some names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more if names else "nothing"
