"""Post-hoc scores from features: distances from those of training. Up = more out of distribution."""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.linalg import eigh, eigvalsh, pinv
from scipy.special import logsumexp

from dfd.core.bank import FeatureBank, Head
from dfd.posthoc.logits import State

ROWS = 4096


def chunks(count: int, rows: int = ROWS) -> Iterator[slice]:
    """Yield slices that cover `count` rows."""
    return (slice(start, start + rows) for start in range(0, count, rows))


def by_chunk(features: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Apply a function of features (n, D) to one value a row, a few thousand rows at a time."""
    return np.concatenate([function(features[part].astype(np.float32)) for part in chunks(len(features))])


def fit_mahalanobis(bank: FeatureBank, head: Head, classes: str = "label", ridge: float = 1e-6) -> State:
    """Learn class means, their common covariance, and mean and covariance without classes.

    `classes=source` takes every (source, label) for a class: generators or manipulations. Both covariances get one
    floor, in double precision: the relative distance is a difference of two large numbers, and directions of little
    variance cancel in it only if both are held up alike.
    """
    names = _classes(bank, classes)
    means = np.stack([bank.features[names == k].mean(0, dtype=float) for k in range(names.max() + 1)])
    overall = bank.features.mean(0, dtype=float)
    within = scatter(bank.features, means, names, dtype=float)
    floor = max(float(ridge) * float(eigvalsh(within).max()), np.finfo(float).tiny)
    return {
        "means": means,
        "whiten": _whitener(within, floor),
        "mean": overall[None],
        "whiten_all": _whitener(scatter(bank.features, overall[None], dtype=float), floor),
    }


def mahalanobis(bank: FeatureBank, head: Head, state: State) -> np.ndarray:
    """The squared Mahalanobis distance from the nearest class mean (Lee et al. 2018)."""
    return _nearest(bank.features, state["means"], state["whiten"])


def relative_mahalanobis(bank: FeatureBank, head: Head, state: State) -> np.ndarray:
    """The Mahalanobis distance less that from the mean of all classes (Ren et al. 2021)."""
    return mahalanobis(bank, head, state) - _nearest(bank.features, state["mean"], state["whiten_all"])


def fit_pictures(bank: FeatureBank, head: Head, shrink: float = 0.3) -> State:
    """Learn mean, scale and correlation of the statistics of training pictures; the correlation is shrunk.

    Shrunk by a tenth to six tenths, filmed faces are told from rendered ones alike.
    """
    values = bank.extra["pictures"].astype(float)
    mean, scale = values.mean(0), np.maximum(values.std(0), 1e-4)
    unit = (values - mean) / scale
    whiten = _whitener((1 - shrink) * unit.T @ unit / len(unit), shrink)
    return {"mean": mean[None], "whiten": whiten / scale[:, None]}


def pictures(bank: FeatureBank, head: Head, state: State) -> np.ndarray:
    """The squared Mahalanobis distance of how a picture looks, whatever it shows, from training pictures."""
    return _nearest(bank.extra["pictures"], state["mean"], state["whiten"])


def fit_knn(bank: FeatureBank, head: Head, limit: int = 100_000) -> State:
    """Keep the directions of the training features, at most `limit` of them."""
    rows = np.linspace(0, len(bank) - 1, min(int(limit), len(bank))).astype(int)
    return {"bank": _unit(bank.features[rows].astype(np.float32))}


def knn(bank: FeatureBank, head: Head, state: State, k: int = 50) -> np.ndarray:
    """The distance from the k-th nearest training feature, of directions (Sun et al. 2022)."""
    known = state["bank"]
    k = min(int(k), len(known))

    def kth(features: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(0, 2 - 2 * kth_largest(_unit(features) @ known.T, k)))

    rows = max(1, min(ROWS, 2**26 // len(known)))
    return np.concatenate([kth(bank.features[part].astype(np.float32)) for part in chunks(len(bank), rows)])


def kth_largest(values: np.ndarray, k: int, block: int = 64) -> np.ndarray:
    """Return the k-th largest of every row (n, M).

    No value of a block whose largest is below the k-th largest of all blocks' can be among the k: only k blocks are
    sorted, which is several times as fast as a partition of the whole row.
    """
    n, m = values.shape
    whole = m // block * block
    if m < 8 * k * block:
        return np.partition(values, m - k, axis=1)[:, m - k]
    blocks = values[:, :whole].reshape(n, -1, block)
    best = np.argpartition(blocks.max(2), -k, axis=1)[:, -k:]
    kept = np.take_along_axis(blocks, best[:, :, None], 1).reshape(n, -1)
    kept = np.concatenate([kept, values[:, whole:]], 1)
    return np.partition(kept, kept.shape[1] - k, axis=1)[:, kept.shape[1] - k]


def fit_vim(bank: FeatureBank, head: Head, keep: float = 0.5) -> State:
    """Learn the directions of least variance around the origin of the head; `keep` is the share of the others."""
    origin = -pinv(head.weight.astype(float)) @ head.bias.astype(float)
    values = scatter(bank.features, origin[None])
    width = len(origin)
    rest = max(1, width - round(float(keep) * width))
    _, directions = eigh(values, subset_by_index=(0, rest - 1))
    state = {"origin": origin, "directions": directions.astype(np.float32)}
    scale = bank.logits.astype(float).max(1).mean() / max(residual(bank, head, state).mean(), 1e-12)
    return state | {"scale": np.array(abs(scale))}


def residual(bank: FeatureBank, head: Head, state: State) -> np.ndarray:
    """The length of a feature outside the space that training features fill."""
    origin, directions = state["origin"].astype(np.float32), state["directions"]
    return by_chunk(bank.features, lambda x: np.linalg.norm((x - origin) @ directions, axis=1))


def vim(bank: FeatureBank, head: Head, state: State) -> np.ndarray:
    """That length as a virtual logit, against the energy (Wang et al. 2022)."""
    return state["scale"] * residual(bank, head, state) - logsumexp(bank.logits.astype(float), axis=1)


def fit_she(bank: FeatureBank, head: Head) -> State:
    """Learn the mean feature of every class, over the views that were classified right."""
    predicted = bank.logits.argmax(1)
    right = predicted == bank.label
    patterns = []
    for k in range(bank.logits.shape[1]):
        rows = (predicted == k) & right
        rows = rows if rows.any() else bank.label == k
        patterns.append(bank.features[rows].mean(0, dtype=float) if rows.any() else np.zeros(bank.features.shape[1]))
    return {"patterns": np.stack(patterns)}


def she(bank: FeatureBank, head: Head, state: State) -> np.ndarray:
    """Minus the inner product with the pattern of the predicted class (Zhang et al. 2023)."""
    products = bank.features @ state["patterns"].T.astype(bank.features.dtype)
    return -np.take_along_axis(products, bank.logits.argmax(1)[:, None], 1)[:, 0].astype(float)


def fit_fdbd(bank: FeatureBank, head: Head) -> State:
    """Learn the mean feature."""
    return {"mean": bank.features.mean(0, dtype=float)}


def fdbd(bank: FeatureBank, head: Head, state: State) -> np.ndarray:
    """Minus the mean distance from the decision boundaries over that from the mean feature (Liu and Qin 2024)."""
    logits, weight = bank.logits.astype(float), head.weight.astype(float)
    predicted = logits.argmax(1)
    apart = np.linalg.norm(weight[:, None] - weight[None], axis=2)
    margin = np.take_along_axis(logits, predicted[:, None], 1) - logits
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(apart[predicted] > 0, margin / apart[predicted], 0).sum(1) / (logits.shape[1] - 1)
    away = by_chunk(bank.features, lambda x: np.linalg.norm(x - state["mean"].astype(np.float32), axis=1))
    return -distance / np.maximum(away, 1e-12)


def scatter(
    features: np.ndarray, centres: np.ndarray, nearest: np.ndarray | None = None, dtype: type = np.float32
) -> np.ndarray:
    """Return the mean outer product (D, D) of features (N, D) around their centres (K, D); `nearest` says which."""
    total = np.zeros((features.shape[1],) * 2)
    for part in chunks(len(features)):
        centred = (features[part] - (centres if nearest is None else centres[nearest[part]])).astype(dtype)
        total += centred.T @ centred
    return total / len(features)


def _classes(bank: FeatureBank, classes: str) -> np.ndarray:
    names = bank.label if classes == "label" else np.char.add(bank.source.astype(str), bank.label.astype(str))
    return np.unique(names, return_inverse=True)[1]


def _whitener(covariance: np.ndarray, floor: float) -> np.ndarray:
    """Return W with W W^T the inverse of a covariance to whose every direction the floor is added."""
    values, vectors = eigh(covariance)
    return vectors / np.sqrt(np.maximum(values, 0) + floor)


def _nearest(features: np.ndarray, means: np.ndarray, whiten: np.ndarray) -> np.ndarray:
    """Return the squared distance of every row from the nearest mean, in double precision."""
    centre = means.mean(0)
    whitened = (means - centre) @ whiten

    def squared(x: np.ndarray) -> np.ndarray:
        y = (x.astype(float) - centre) @ whiten
        return np.min([((y - mean) ** 2).sum(1) for mean in whitened], axis=0)

    return by_chunk(features, squared)


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-10)
