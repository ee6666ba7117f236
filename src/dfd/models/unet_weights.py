"""Weights of the published deblurring U-Nets into ours, strictly: each root in its order, every shape fits."""

from pathlib import Path

import torch
from torch import Tensor

from dfd.core.errors import DfdError
from dfd.models.checkpoint import save_network
from dfd.models.unet import RestorationUnet

ROOTS = ("initial", "encoder", "bottleneck", "decoder", "final_conv")
LAYOUTS = {
    118: {"features": [64, 128, 256, 512], "bottleneck": 1024, "pool_bottleneck": False},
    92: {"features": [32, 64, 128], "bottleneck": 256, "pool_bottleneck": True},
}


def import_weights(source: Path, target: Path) -> RestorationUnet:
    """Read a published checkpoint without running code from it, and write it as a checkpoint of ours."""
    state = _state(source)
    if len(state) not in LAYOUTS:
        raise DfdError(
            f"{source} holds {len(state)} tensors; the published U-Nets hold {' or '.join(map(str, LAYOUTS))}"
        )
    tree = {"_target_": "dfd.models.unet.RestorationUnet", "residual": False, "size": 256, **LAYOUTS[len(state)]}
    network = RestorationUnet(**{key: value for key, value in tree.items() if key != "_target_"})  # type: ignore[arg-type]
    network.load_state_dict(matched(state, network.state_dict()))
    network.initialised_from = source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    save_network(target, network, tree, crops=None)
    return network


def matched(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name foreign tensors as ours: those of each root in their order; what does not fit is an error."""
    named = {}
    for root in ROOTS:
        theirs = [key for key in state if key.split(".")[0] == root]
        ours = [key for key in own if key.split(".")[0] == root]
        if len(theirs) != len(ours):
            raise DfdError(f"{root}: {len(theirs)} tensors in the checkpoint, {len(ours)} in the network")
        for key, foreign in zip(ours, theirs, strict=True):
            if state[foreign].shape != own[key].shape:
                raise DfdError(f"{foreign} is {tuple(state[foreign].shape)}, {key} is {tuple(own[key].shape)}")
            named[key] = state[foreign]
    return named


def _state(source: Path) -> dict[str, Tensor]:
    try:
        loaded = torch.load(source, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DfdError(f"no checkpoint at {source}") from None
    except Exception as error:
        raise DfdError(f"{source} cannot be read as weights ({' '.join(str(error).split())[:160]})") from error
    for key in ("model_state_dict", "state_dict", "model"):
        if isinstance(loaded, dict) and key in loaded:
            loaded = loaded[key]
    return {key.removeprefix("module."): value for key, value in loaded.items() if isinstance(value, Tensor)}
