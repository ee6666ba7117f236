"""The card in every checkpoint: what a detector is, and all it needs to look at a file again as its run did."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, NamedTuple

from dfd.core.errors import DfdError

FORMAT = 2  # 1: an untyped dictionary, without what `Card.looking` holds

Repair = Literal["none", "drop", "relabel"]
SHOWN_IN_CROPS = ("view_margin", "align")  # options of cropping that say how a crop is shown


class Showing(NamedTuple):
    """Whose face is shown and how much of it.

    `margin` and `align` are applied when a crop is read. `actors` is "main", or "any": in training, a random one of
    the faces that were kept. `repair` says what to do with a face of a fake video that its mask shows untouched:
    "none" trusts the label, "drop" shows the other faces instead where there are any, "relabel" calls it real.
    """

    margin: float | None = None
    align: bool = False
    actors: Literal["main", "any"] = "main"
    repair: Repair = "none"


@dataclass(frozen=True)
class Looking:
    """How a detector looks at one file in evaluation: which views, how they are shown, pooled and computed.

    Args:
        showing: margin and alignment of a face crop.
        sampling: how clips are chosen, "even" or "official" (as TALL's code does).
        frames: frames of a video that an image network sees; null for clip networks, which know their own number.
        pool: how the views of one person become a score.
        tracks: how the people of a video become its score.
        precision: the trainer's precision on validation, e.g. 32-true or bf16-mixed.
    """

    showing: Showing = field(default_factory=Showing)
    sampling: Literal["even", "official"] = "even"
    frames: int | None = 16
    pool: str = "mean"
    tracks: str = "max"
    precision: str = "32-true"


@dataclass(frozen=True)
class Card:
    """What a checkpoint says of its network, beside the weights; plain values only.

    Args:
        network: constructor tree of the network (`_target_` and arguments).
        input: the network's input, as a mapping.
        model: name of the configuration, e.g. meso.
        data: tag of the training dataset, e.g. ffpp or ffpp-sample.
        sample: whether it was trained on the rendered sample.
        manifest: hash of the records it was trained on.
        crops: options of face cropping; null for whole pictures.
        seed: of the training.
        plugins: packages of the user's that its classes came from.
        initialised_from: what its weights started from.
        looking: how it looks at a file in evaluation and prediction.
        is_baseline: whether reports show it as the baseline row.
        outliers: what an abnormality module learned to reject, if it is one.
        base_hash: hash of the frozen weights that the checkpoint leaves out, if it does.
        features: extractors of features over time and how they are kept, of a network that reads such features.
    """

    network: Mapping[str, Any]
    input: Mapping[str, Any] = field(default_factory=dict)
    model: str = "unknown"
    data: str = "unknown"
    sample: bool = False
    manifest: str = "unknown"
    crops: Mapping[str, Any] | None = field(default_factory=dict)
    seed: int = 0
    plugins: tuple[str, ...] = ()
    initialised_from: str = "unknown"
    looking: Looking = field(default_factory=Looking)
    is_baseline: bool = False
    outliers: str | None = None
    base_hash: str | None = None
    features: Mapping[str, Any] | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return plain values, as a checkpoint keeps them."""
        values = asdict(self)
        values["looking"]["showing"] = self.looking.showing._asdict()
        return {"format": FORMAT, **_plain(values)}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Card":
        """Read a card of this format or an older one; keys of a newer version are an error."""
        if not isinstance(values, Mapping) or "network" not in values:
            raise DfdError("the checkpoint's card does not say which network it holds")
        version = values.get("format", 1)
        if version > FORMAT:
            raise DfdError(f"the checkpoint's card has format {version}, this dfd reads up to {FORMAT}: update dfd")
        known = {f.name for f in fields(cls)}
        kept: dict[str, Any] = {key: value for key, value in values.items() if key in known}
        kept["plugins"] = tuple(kept.get("plugins") or ())
        kept["looking"] = _looking(values["looking"]) if "looking" in values else _looking_of_format_1(values)
        return cls(**kept)


def _looking(values: Mapping[str, Any]) -> Looking:
    return Looking(**{**values, "showing": Showing(**values["showing"])})


def _looking_of_format_1(values: Mapping[str, Any]) -> Looking:
    """Format 1 kept margin and alignment among the options of cropping, and nothing of the rest."""
    crops = values.get("crops") or {}
    return Looking(showing=Showing(crops.get("view_margin"), bool(crops.get("align", False))))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
