"""Published weights of the audio-visual anomaly detector (AVAD): read safely, loaded strictly."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfd.core.errors import DfdError
from dfd.models.avsync import AVSync
from dfd.models.delays import DelayDecoder, DistributionModel, FeatureModel, Pca
from dfd.models.foreign import some

GET_IT = "get the files through the README of cfeng16/audio-visual-forensics"
NUMPY = {
    ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"),
    ("numpy", "ndarray"), ("numpy", "dtype"),
}  # fmt: skip


def published_sync() -> AVSync:
    """Return the network that `sync_model.pth` fits, with random weights."""
    return AVSync("base", 224, token_layout="legacy", published=True)


def load_sync(path: Path) -> AVSync:
    """Return the published synchronisation network (`sync_model.pth`)."""
    network = published_sync()
    load_strictly(network, read_state(path), path)
    return network.eval()


def load_distribution_model(path: Path) -> DistributionModel:
    """Return the published model of delays (`dist_regressive_model.pth`)."""
    model = DistributionModel()
    load_strictly(model.decoder, read_state(path), path)
    return model.eval()


def load_feature_model(path: Path, pca: Path) -> FeatureModel:
    """Return the published model of features (`avfeature_regressive_model.pth`) with its components (`pca.pkl`)."""
    model = FeatureModel()
    load_strictly(model.decoder, read_state(path), path)
    arrays = read_pca(pca)
    model.pca.load_state_dict({name: torch.from_numpy(array).float() for name, array in arrays.items()})
    return model.eval()


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a file of weights without running code from it."""
    if not path.is_file():
        raise DfdError(f"no file at {path}: {GET_IT}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # truncated zip, foreign pickle, plain text: torch raises a different type for each
        raise DfdError(f"{path} cannot be read as weights: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DfdError(f"{path} holds no plain table of weights: {GET_IT}")
    return dict(state)


def load_strictly(network: AVSync | DelayDecoder | Pca, state: Mapping[str, Tensor], path: Path) -> None:
    """Load weights under their own names: all of them fit, or it is an error that lists those that do not."""
    own = network.state_dict()
    shapes = [
        f"{name} {tuple(state[name].shape)}, not {tuple(own[name].shape)}"
        for name in sorted(own.keys() & state.keys())
        if own[name].shape != state[name].shape
    ]
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or unexpected or shapes:
        raise DfdError(
            f"{path} does not fit {type(network).__name__}: missing {some(missing)}; unexpected {some(unexpected)}; "
            f"of another shape {some(shapes)}"
        )
    network.load_state_dict(state)


def read_pca(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a pickled pipeline of StandardScaler and PCA; nothing but arrays is made of the file."""
    if not path.is_file():
        raise DfdError(f"no file at {path}: {GET_IT}")
    try:
        with path.open("rb") as file:
            steps = dict(_Arrays(file).load().pickled["steps"])
        scaler, pca = steps["scaling"].pickled, steps["pca"].pickled
        arrays = {
            "mean": scaler["mean_"],
            "scale": scaler["scale_"],
            "pca_mean": pca["mean_"],
            "components": pca["components_"],
            "explained_variance": pca["explained_variance_"],
        }
    except (pickle.UnpicklingError, KeyError, AttributeError, TypeError, ValueError, EOFError, IndexError) as error:
        raise DfdError(f"{path} is not a pickled pipeline of StandardScaler and PCA ({error}): {GET_IT}") from error
    if pca["whiten"]:
        raise DfdError(f"{path} whitens its components: that is not what the published models were trained on")
    return {name: np.asarray(array, np.float64) for name, array in arrays.items()}


class _Told:
    """Stands for an object of scikit-learn: it only remembers what the file says of it."""

    pickled: dict[str, Any]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.pickled = state


class _Arrays(pickle.Unpickler):
    """Makes arrays, and remembers what is said of scikit-learn's objects; every other name is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what may be made, or refuse."""
        if (module, name) in NUMPY:
            return super().find_class(module, name)
        if module.split(".")[0] == "sklearn" and name in ("Pipeline", "StandardScaler", "PCA"):
            return _Told
        raise pickle.UnpicklingError(f"it wants {module}.{name}, which is refused")
