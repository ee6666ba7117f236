"""Scores of logits alone. Up = more out of distribution.

With two classes MSP, entropy and GEN rank alike: all three are monotone in the margin between the two logits.
"""

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax, xlogy

from dfd.core.bank import FeatureBank, Head

State = dict[str, np.ndarray]


def fit_nothing(bank: FeatureBank, head: Head) -> State:
    """Learn nothing: the score needs no training views."""
    return {}


def msp(bank: FeatureBank, head: Head, state: State) -> np.ndarray:
    """Minus the log of the largest probability (Hendrycks and Gimpel 2017), exact also where that is nearly one."""
    ordered = np.sort(bank.logits.astype(float), axis=1)
    return np.log1p(np.exp(ordered[:, :-1] - ordered[:, -1:]).sum(1))


def max_logit(bank: FeatureBank, head: Head, state: State) -> np.ndarray:
    """Minus the largest logit (Hendrycks et al. 2022)."""
    return -bank.logits.astype(float).max(1)


def energy(bank: FeatureBank, head: Head, state: State, temperature: float = 1.0) -> np.ndarray:
    """The free energy (Liu et al. 2020)."""
    return energy_of(bank.logits, temperature)


def energy_of(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return -T logsumexp(z / T)."""
    return -temperature * logsumexp(logits.astype(float) / temperature, axis=1)


def entropy(bank: FeatureBank, head: Head, state: State) -> np.ndarray:
    """The entropy of the softmax."""
    return entropy_of(bank.logits)


def entropy_of(logits: np.ndarray) -> np.ndarray:
    """Return the entropy of softmax(z) over the last axis."""
    logs = log_softmax(logits.astype(float), axis=-1)
    return -(np.exp(logs) * logs).sum(-1)


def gen(bank: FeatureBank, head: Head, state: State, gamma: float = 0.1, top: int = 10) -> np.ndarray:
    """The generalised entropy of the `top` largest probabilities (Liu et al. 2023)."""
    logs = np.sort(log_softmax(bank.logits.astype(float), axis=1), axis=1)[:, -int(top) :]
    with np.errstate(divide="ignore"):
        rest = np.log(-np.expm1(np.minimum(logs, -1e-300)))
    return np.exp(gamma * (logs + rest)).sum(1)


def fit_klm(bank: FeatureBank, head: Head) -> State:
    """Learn the mean probabilities of every predicted class."""
    probability = softmax(bank.logits.astype(float), axis=1)
    predicted = probability.argmax(1)
    templates = [probability[predicted == k].mean(0) for k in np.unique(predicted)]
    return {"templates": np.stack(templates)}


def klm(bank: FeatureBank, head: Head, state: State) -> np.ndarray:
    """The divergence from the nearest template (KL matching, Hendrycks et al. 2022)."""
    probability = softmax(bank.logits.astype(float), axis=1)
    own = xlogy(probability, probability).sum(1, keepdims=True)
    cross = probability @ np.log(np.maximum(state["templates"], 1e-300)).T
    return (own - cross).min(1)


def grad_norm(bank: FeatureBank, head: Head, state: State) -> np.ndarray:
    """Minus the L1 norm of the last layer's gradient of KL(uniform, softmax) (Huang et al. 2021), in closed form."""
    probability = softmax(bank.logits.astype(float), axis=1)
    towards = np.abs(1 / probability.shape[1] - probability).sum(1)
    return -np.abs(bank.features).sum(1, dtype=float) * towards


def odin(bank: FeatureBank, head: Head, state: State, step: int = 1, temperature: float = 1000.0) -> np.ndarray:
    """Minus the largest tempered probability of a view moved towards its class (Liang et al. 2018).

    `step` says which of the perturbations in the bank counts.
    """
    logits = bank.extra["odin"][:, int(step)].astype(float) / temperature
    return -softmax(logits, axis=1).max(1)


def _mean_entropy(draws: np.ndarray) -> np.ndarray:
    mean = softmax(draws.astype(float), axis=2).mean(1)
    return -xlogy(mean, mean).sum(1)


def ensemble(bank: FeatureBank, head: Head, state: State) -> np.ndarray:
    """The entropy of the mean prediction of several networks (Lakshminarayanan et al. 2017)."""
    return _mean_entropy(bank.extra["ensemble"])


def mc_dropout(bank: FeatureBank, head: Head, state: State) -> np.ndarray:
    """The entropy of the mean prediction under dropout (Gal and Ghahramani 2016)."""
    return _mean_entropy(bank.extra["mc_dropout"])


def disagreement(bank: FeatureBank, head: Head, state: State) -> np.ndarray:
    """The mutual information of prediction and dropout: how much the draws disagree."""
    draws = bank.extra["mc_dropout"]
    return _mean_entropy(draws) - entropy_of(draws).mean(1)
