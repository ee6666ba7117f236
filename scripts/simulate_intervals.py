"""Simulate how often the 95 % intervals hold the true AUC: python scripts/simulate_intervals.py [--draws 1000].

Scores are normal, so the truth is known: the probability that a fake scores above a real of another group. Designs:

* pairs: FF++-like; every group holds two source videos and the eight fakes made of them, which share a part `rho` of
  the variance of their scores (half by group, half by source);
* independent: 20 reals and 80 fakes, each a group of its own;
* crossed: Celeb-DF-like; each of `people` has three reals, and fakes of targets and donors drawn at random; the target
  shares 30 % of the variance and so does the donor, whose face is seen.

Prints a Markdown table: coverage and mean width of the interval in use, and of the expanded percentile bootstrap that
it replaced.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

from dfd.metrics.bootstrap import resample
from dfd.metrics.intervals import Interval
from dfd.metrics.jackknife import intervals
from dfd.metrics.measures import AUC, evaluate

TRUTHS = (0.7, 0.9, 0.98, 0.999)


class Sample(NamedTuple):
    """Scored videos with their groups, and the second group of each where there is one."""

    labels: np.ndarray
    scores: np.ndarray
    groups: np.ndarray
    donors: np.ndarray | None = None


Design = Callable[[np.random.Generator, float], Sample]


def distance(auc: float) -> float:
    """Return how far apart two normal distributions of variance 1 are whose AUC is known."""
    return float(np.sqrt(2) * norm.ppf(auc))


def pairs(random: np.random.Generator, auc: float, groups: int, rho: float) -> Sample:
    """Draw FF++-like videos."""
    labels = np.tile([0, 1, 1, 1, 1], 2 * groups)
    source = np.repeat(np.arange(2 * groups), 5)
    shared = random.normal(0, 1, groups)[source // 2] + random.normal(0, 1, 2 * groups)[source]
    own = random.normal(0, 1, len(labels))
    scores = distance(auc) * labels + np.sqrt(rho / 2) * shared + np.sqrt(1 - rho) * own
    return Sample(labels, scores, source // 2)


def independent(random: np.random.Generator, auc: float, reals: int = 20, fakes: int = 80) -> Sample:
    """Draw videos that have nothing to do with each other."""
    labels = np.repeat([0, 1], [reals, fakes])
    scores = distance(auc) * labels + random.normal(0, 1, len(labels))
    return Sample(labels, scores, np.arange(len(labels)))


def crossed(random: np.random.Generator, auc: float, people: int, rho: float = 0.6, scenes: float = 0.5) -> Sample:
    """Draw Celeb-DF-like videos: of a fake the target is seen, and the donor's face; of a real, one person is both.

    Of the shared variance `rho` the part `scenes` is the target's, the rest the donor's.
    """
    targets = np.concatenate([np.repeat(np.arange(people), 3), random.integers(0, people, 6 * people)])
    labels = np.repeat([0, 1], [3 * people, 6 * people])
    donors = np.where(labels == 1, (targets + random.integers(1, people, len(labels))) % people, targets)
    scene, face = random.normal(0, 1, (2, people))
    shared = np.sqrt(rho * scenes) * scene[targets] + np.sqrt(rho * (1 - scenes)) * face[donors]
    scores = distance(auc) * labels + shared + np.sqrt(1 - rho) * random.normal(0, 1, len(labels))
    return Sample(labels, scores, targets, donors)


def ours(sample: Sample) -> Interval:
    """Return the interval in use."""
    values = {"auc": float(evaluate(AUC, sample.labels, sample.scores)["auc"])}
    return intervals(AUC, values, *sample)["auc"]


def expanded_percentiles(sample: Sample, draws: int = 300) -> Interval:
    """Return the interval that was replaced: percentiles of the group bootstrap, expanded for few groups."""
    count = len(np.unique(sample.groups))
    tail = float(norm.cdf(np.sqrt(count / (count - 1)) * t.ppf(0.025, count - 1)))
    values = resample(AUC, *sample[:3], resamples=draws)["auc"]
    return Interval(*np.nanquantile(values, [tail, 1 - tail]))


def coverage(
    method: Callable[[Sample], Interval], design: Design, auc: float, draws: int, seed: int = 0
) -> tuple[float, float, float]:
    """Return how often intervals hold the truth, how often they lie wholly above it, and their mean width."""
    found = np.array([method(design(np.random.default_rng([seed, draw]), auc)) for draw in range(draws)])
    low, high = found.T
    return float(((low <= auc) & (auc <= high)).mean()), float((low > auc).mean()), float((high - low).mean())


def designs() -> Iterator[tuple[str, Design]]:
    """Yield every design by name."""
    for groups in (8, 16, 70):
        for rho in (0.0, 0.3, 0.7):
            yield f"pairs, {groups} groups, rho {rho:g}", lambda r, a, g=groups, p=rho: pairs(r, a, g, p)
    yield "independent, 20 + 80", independent
    for people in (15, 59):
        yield f"crossed, {people} people", lambda r, a, n=people: crossed(r, a, n)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000, help="samples per cell")
    options = parser.parse_args()
    out = sys.stdout
    out.write("| design | " + " | ".join(f"AUC {auc:g}" for auc in TRUTHS) + " |\n|---|" + "---|" * len(TRUTHS) + "\n")
    for name, design in designs():
        cells = []
        for auc in TRUTHS:
            now, over, width = coverage(ours, design, auc, options.draws)
            before, flattering, narrow = coverage(expanded_percentiles, design, auc, options.draws)
            cells.append(
                f"{100 * before:.1f} → **{100 * now:.1f}** ({width / narrow:.1f}x)" if narrow else f"{now:.3f}"
            )
            sys.stderr.write(f"{name} {auc:g}: above the truth {100 * flattering:.1f} -> {100 * over:.1f} %\n")
        out.write(f"| {name} | " + " | ".join(cells) + " |\n")
        out.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
