"""Order of videos in an epoch: a function of (seed, epoch, rank), so that a run can be resumed exactly."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from torch.utils.data import Sampler

from dfd.data.views import Visit

Balance = Literal["balanced", "natural", "undersample", "stratified"]


def epoch_order(labels: np.ndarray, visits: int, balance: Balance, generator: np.random.Generator) -> np.ndarray:
    """Return the videos of one epoch, `visits` times as many as there are, shuffled.

    "natural" visits every video equally often, and so does "stratified", which spreads the classes evenly over the
    epoch: a batch holds each class to within two of its share. "balanced" gives each class the same number of
    visits, shared evenly among its videos; "undersample" visits every video of the rarer class `visits` times, and as
    many of the other, sampled again in each epoch.
    """
    total = epoch_length(labels, visits, balance)
    if balance == "natural":
        return np.concatenate([generator.permutation(len(labels)) for _ in range(visits)])
    if balance == "stratified":
        return np.concatenate([_spread(generator.permutation(len(labels)), labels, generator) for _ in range(visits)])
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    shares = [total // len(classes) + (position < total % len(classes)) for position in range(len(classes))]
    drawn = [_cycle(members, share, generator) for members, share in zip(classes, shares, strict=True)]
    return generator.permutation(np.concatenate(drawn))


def _spread(order: np.ndarray, labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Reorder videos so that every class comes at a steady pace, each a random part of a step early."""
    place = np.empty(len(order))
    for label in np.unique(labels):
        members = np.flatnonzero(labels[order] == label)
        place[members] = (np.arange(len(members)) + generator.random()) / len(members)
    return order[np.argsort(place, kind="stable")]


def epoch_length(labels: np.ndarray, visits: int, balance: Balance) -> int:
    """Return how many visits an epoch has."""
    if balance != "undersample":
        return visits * len(labels)
    counts = np.unique(labels, return_counts=True)[1]
    return visits * int(counts.min()) * len(counts)


def _cycle(members: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    rounds = -(-count // len(members))
    return np.concatenate([generator.permutation(members) for _ in range(rounds)])[:count]


class TrainSampler(Sampler[Visit]):
    """Visits for training, split over ranks; every visit carries its own seed."""

    def __init__(
        self,
        labels: Sequence[int],
        visits: int = 1,
        balance: Balance = "balanced",
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.labels = np.asarray(labels)
        self.visits, self.balance, self.seed = visits, balance, seed
        self.rank, self.world = rank, world
        self.epoch = 0
        self.skip: tuple[int, int] = (-1, 0)

    def __len__(self) -> int:
        return epoch_length(self.labels, self.visits, self.balance) // self.world

    def set_epoch(self, epoch: int) -> None:
        """Set the next epoch; Lightning calls it."""
        self.epoch = epoch

    def skip_visits(self, epoch: int, visits: int) -> None:
        """Skip the first visits of this rank in one epoch: a run is resumed in the middle of it."""
        self.skip = (epoch, visits)

    def __iter__(self) -> Iterator[Visit]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = epoch_order(self.labels, self.visits, self.balance, generator)
        seeds = generator.integers(2**63, size=len(order))
        share = slice(self.rank, len(self) * self.world, self.world)
        start = self.skip[1] if self.skip[0] == self.epoch else 0
        for video, seed in zip(order[share][start:], seeds[share][start:], strict=True):
            yield Visit(int(video), int(seed))


class EvalSampler(Sampler[Visit]):
    """Every video once in order, split over ranks; padded to equal steps (the prediction table drops repeats)."""

    def __init__(self, count: int, rank: int = 0, world: int = 1) -> None:
        self.count, self.rank, self.world = count, rank, world

    def __len__(self) -> int:
        return -(-self.count // self.world)

    def __iter__(self) -> Iterator[Visit]:
        for position in range(self.rank, len(self) * self.world, self.world):
            yield Visit(position % self.count)
