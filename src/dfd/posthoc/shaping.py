"""Energy after features or weights were reshaped. Up = more out of distribution."""

import numpy as np

from dfd.core.bank import FeatureBank, Head
from dfd.posthoc.distances import by_chunk
from dfd.posthoc.logits import State, energy_of


def fit_react(bank: FeatureBank, head: Head, percentile: float = 90.0) -> State:
    """Learn the activation that so many per cent of all training activations stay below."""
    sample = bank.features[:: max(1, bank.features.size // 20_000_000)]
    return {"ceiling": np.array(np.percentile(sample, percentile))}


def react(bank: FeatureBank, head: Head, state: State) -> np.ndarray:
    """The energy with activations cut off there (Sun et al. 2021)."""
    ceiling = np.float32(state["ceiling"])
    return by_chunk(bank.features, lambda x: _energy(np.minimum(x, ceiling), head))


def ash(bank: FeatureBank, head: Head, state: State, percentile: float = 65.0) -> np.ndarray:
    """The energy of the largest activations, scaled up by what was dropped (ASH-S, Djurisic et al. 2023)."""
    return by_chunk(bank.features, lambda x: _energy(_shaped(x, percentile, prune=True), head))


def scale(bank: FeatureBank, head: Head, state: State, percentile: float = 65.0) -> np.ndarray:
    """The energy of all activations, scaled up by the share of the largest (SCALE, Xu et al. 2024)."""
    return by_chunk(bank.features, lambda x: _energy(_shaped(x, percentile, prune=False), head))


def fit_dice(bank: FeatureBank, head: Head, drop: float = 0.7) -> State:
    """Learn which share of the weights contribute least on the mean training feature, and drop them."""
    contribution = head.weight * bank.features.mean(0, dtype=float)
    return {"weight": np.where(contribution > np.quantile(contribution, float(drop)), head.weight, 0)}


def dice(bank: FeatureBank, head: Head, state: State) -> np.ndarray:
    """The energy by the weights that are left (Sun and Li 2022)."""
    sparse = Head(state["weight"], head.bias)
    return by_chunk(bank.features, lambda x: _energy(x, sparse))


def _shaped(x: np.ndarray, percentile: float, *, prune: bool) -> np.ndarray:
    """Multiply rows by exp(sum of all / sum of the largest); prune the others if asked."""
    keep = max(1, x.shape[1] - round(x.shape[1] * percentile / 100))
    bound = np.partition(x, -keep, axis=1)[:, [-keep]]
    largest = np.where(x >= bound, x, 0)
    share = x.sum(1, keepdims=True) / np.maximum(largest.sum(1, keepdims=True), 1e-12)
    return (largest if prune else x) * np.exp(np.minimum(share, 30))


def _energy(x: np.ndarray, head: Head) -> np.ndarray:
    return energy_of(x @ head.weight.T.astype(x.dtype) + head.bias)
