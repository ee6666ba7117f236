from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dfd.data.sampler import EvalSampler, TrainSampler, epoch_order

labels = st.lists(st.integers(0, 1), min_size=2, max_size=50).filter(lambda ls: len(set(ls)) == 2)


@given(labels, st.integers(1, 5), st.integers(0, 9))
def test_balanced_epochs_hold_as_many_of_each_class_and_share_fairly(labels, visits, seed):
    labels = np.array(labels)
    order = epoch_order(labels, visits, "balanced", np.random.default_rng(seed))
    assert len(order) == visits * len(labels)
    per_class = Counter(labels[order])
    assert abs(per_class[0] - per_class[1]) <= 1
    for label in (0, 1):
        counts = [np.sum(order == video) for video in np.flatnonzero(labels == label)]
        assert max(counts) - min(counts) <= 1


@given(labels, st.integers(1, 3), st.integers(1, 4))
def test_ranks_share_an_epoch_without_overlap(labels, visits, world):
    whole = list(TrainSampler(labels, visits, seed=3))
    shares = [list(TrainSampler(labels, visits, seed=3, rank=rank, world=world)) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    joined = [visit for step in zip(*shares) for visit in step]
    assert joined == whole[: len(joined)]


def test_epochs_differ_and_are_reproducible():
    sampler = TrainSampler([0, 1] * 10, visits=2, seed=5)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert len({visit.seed for visit in first}) == len(first)


def test_skipping_goes_on_where_the_epoch_was_left():
    sampler, whole = TrainSampler([0, 1] * 10), list(TrainSampler([0, 1] * 10))
    sampler.skip_visits(epoch=0, visits=6)
    assert list(sampler) == whole[6:]
    sampler.set_epoch(1)
    assert len(list(sampler)) == 20


@given(st.integers(1, 40), st.integers(1, 5))
def test_evaluation_sees_every_video_and_ranks_take_equal_steps(count, world):
    shares = [list(EvalSampler(count, rank, world)) for rank in range(world)]
    assert {len(share) for share in shares} == {-(-count // world)}
    assert {visit.video for share in shares for visit in share} == set(range(count))


@given(labels, st.integers(1, 3), st.integers(0, 9), st.integers(2, 8))
def test_stratified_batches_hold_each_class_to_within_two_of_its_share(labels, visits, seed, batch):
    labels = np.array(labels)
    order = epoch_order(labels, visits, "stratified", np.random.default_rng(seed))
    assert Counter(order.tolist()) == Counter(list(range(len(labels))) * visits)
    for start in range(0, len(labels) - batch + 1):
        assert abs(labels[order[start : start + batch]].sum() - batch * labels.mean()) < 2
