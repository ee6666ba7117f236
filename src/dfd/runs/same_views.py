"""A dataset shown to a run as its own validation was: crops, sampling and frames, unless the user says otherwise."""

from collections.abc import Collection, Mapping
from typing import Any

from dfd.core.card import SHOWN_IN_CROPS, Card
from dfd.core.records import InputSpec
from dfd.runs.evaluate_talk import listening


def shown_as_validated(
    data: Mapping[str, Any],
    card: Card,
    input: InputSpec,
    own_loader: Mapping[str, Any] | None,
    typed: Collection[str] = (),
) -> dict[str, Any]:
    """Return a data configuration as a run looks at it.

    Args:
        data: the data configuration, as plain values.
        card: of the run.
        input: of the run's network.
        own_loader: the loader that the run was trained with, if it is still known.
        typed: keys that the user set, which stay.
    """
    shown = listening(dict(data), own_loader) if input.kind == "talk" else dict(data)
    loader, crops = dict(shown["loader"]), shown["crops"]
    if crops is not None:
        own = {key: value for key, value in (card.crops or {}).items() if f"data.crops.{key}" not in typed}
        crops = {**crops, **own}
    for key, value in (("sampling", card.looking.sampling), ("eval_frames", card.looking.frames)):
        if value is not None and key in loader and f"data.loader.{key}" not in typed:
            loader[key] = value
    loader |= {key: crops[key] for key in SHOWN_IN_CROPS if key in (crops or {})}
    return {**shown, "loader": loader, "crops": crops}
