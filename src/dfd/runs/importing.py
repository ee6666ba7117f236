"""Weights of other code as checkpoints that `run=` takes: one importer per kind of file, each strict."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dfd.core.build import build
from dfd.core.card import Looking, Showing
from dfd.core.errors import DfdError, did_you_mean
from dfd.models.checkpoint import NETWORKS, save_network
from dfd.models.dfdc_weights import load_winner, read_winner
from dfd.models.foreign import load_whole
from dfd.models.frame_weights import READERS
from dfd.models.localisation.weights import load_official, read_official
from dfd.models.tall_weights import load_foreign, read_foreign
from dfd.models.unet_weights import import_weights
from dfd.preprocess.crop import CropOptions

log = logging.getLogger("dfd")


@dataclass(frozen=True)
class Choices:
    """What only some importers ask.

    Args:
        ema: take the averaged weights that a container of TALL holds.
        streams: of a localiser, as name:width:rate in the order of training.
        length: steps of a localiser's grid; None: the authors'.
        current: take a localiser's weights themselves, not their moving average.
    """

    ema: bool = False
    streams: Sequence[str] = ()
    length: int | None = None
    current: bool = False


def import_file(kind: str, file: Path, output: Path | None = None, choices: Choices | None = None) -> Path:
    """Write the checkpoint of a published file and return its path, beside the file unless `output` says otherwise."""
    if kind not in IMPORTERS:
        raise DfdError(f"no importer {kind!r}{did_you_mean(kind, IMPORTERS)}: there are {', '.join(IMPORTERS)}")
    path = output or file.with_name(f"{file.stem if file.suffix in ('.pth', '.pt', '.tar') else file.name}.ckpt")
    if path.resolve() == file.resolve():
        raise DfdError(f"{path} would be written over itself: name another file as the second argument")
    IMPORTERS[kind](file, path, choices or Choices())
    return path


def _tall(file: Path, path: Path, choices: Choices) -> None:
    """TALL4Deepfake's container, or DeepfakeBench's bare state dict."""
    foreign = read_foreign(file, choices.ema)
    tree = {"_target_": "dfd.models.tall.Tall", **foreign.arguments}
    network = build(tree, NETWORKS, "network")
    load_foreign(network, foreign)
    save_network(path, network, tree, model="tall", data="unknown", crops=asdict(CropOptions()))


def _dfdc(file: Path, path: Path, choices: Choices) -> None:
    """A checkpoint of the DFDC winner; faces are cut as his code does."""
    winner = read_winner(file)
    tree = {"_target_": "dfd.models.efficientnet.EfficientNet", **winner.arguments}
    network = build(tree, NETWORKS, "network")
    load_winner(network, winner)
    crops = CropOptions(groups=32, length=1, detections=32, size=512, margin=0.66, min_confidence=0.8)
    save_network(path, network, tree, model="efficientnet_b7", data="dfdc", crops=asdict(crops))


def _localisation(file: Path, path: Path, choices: Choices) -> None:
    """UMMAFormer, ActionFormer, TriDet or AuViRe."""
    parts = [text.split(":") for text in choices.streams]
    named = [[name, int(width), float(rate)] for name, width, rate in parts] or None
    official = read_official(file, named, choices.length, not choices.current)
    network = build(official.tree, NETWORKS, "network")
    load_official(network, official)
    save_network(path, network, official.tree, model=official.name.split(":")[0], data="unknown")


def _deblur(file: Path, path: Path, choices: Choices) -> None:
    """The published deblurring U-Nets, large or light."""
    import_weights(file, path)


def _frames(kind: str) -> Callable[[Path, Path, Choices], None]:
    def convert(file: Path, path: Path, choices: Choices) -> None:
        published = READERS[kind](file)
        tree = {"_target_": published.network, **published.arguments}
        network = build(tree, NETWORKS, "network")
        load_whole(network, published.state, f"file: {file.name} ({published.licence})", published.name)
        crops = CropOptions(**published.crops)
        looking = Looking(Showing(crops.view_margin, crops.align), frames=32)
        known = {"model": published.name, "data": "unknown", "crops": asdict(crops), "looking": looking}
        save_network(path, network, tree, **known)
        log.warning("licence of these weights: %s", published.licence)
        log.warning("faces are cut by dfd's detector, not by the authors': expect other numbers than theirs")

    convert.__doc__ = READERS[kind].__doc__
    return convert


IMPORTERS: dict[str, Callable[[Path, Path, Choices], None]] = {
    "tall": _tall,
    "dfdc": _dfdc,
    "localisation": _localisation,
    "deblur": _deblur,
    **{kind: _frames(kind) for kind in READERS},
}
