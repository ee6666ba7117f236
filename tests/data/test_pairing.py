"""Training on fakes with and without the real videos that they were made from."""

import dataclasses

import pytest

from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.records import InputSpec, Record
from dfd.data.datamodule import FaceDataModule
from dfd.data.pairing import paired

REALS = [Record(f"r{n}", "d", "train", 0, f"r{n}.mp4", f"g{n}") for n in range(9)]
FAKES = [
    Record(f"{method}{n}", "d", "train", 1, f"{method}{n}.mp4", f"g{n}", method, f"r{n}")
    for method, count in (("a", 8), ("b", 5)) for n in range(count)
]  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_both_subsets_are_of_one_size_and_differ_in_nothing_but_the_sources(seed):
    sides = {}
    for pairing in ("paired", "unpaired"):
        chosen = paired(REALS + FAKES, pairing, seed)
        sides[pairing] = [[r for r in chosen if r.label == label] for label in (0, 1)]
    (reals, fakes), (same, others) = sides["paired"], sides["unpaired"]
    assert reals == same
    assert len(reals) == 4
    assert {fake.original for fake in fakes} <= {real.id for real in reals}
    assert not {fake.original for fake in others} & {real.id for real in reals}
    assert [fake.method for fake in fakes] == [fake.method for fake in others]
    assert any(fake.method == "a" for fake in fakes)


def test_all_is_all_and_the_seed_draws_the_halves():
    assert paired(REALS + FAKES, "all", 0) == tuple(REALS + FAKES)
    drawn = [paired(REALS + FAKES, "paired", seed) for seed in range(9)]
    assert any(each != drawn[0] for each in drawn)


def test_a_dataset_that_names_no_sources_is_refused():
    fakes = [dataclasses.replace(fake, original=None) for fake in FAKES]
    with pytest.raises(DfdError, match="0 of 9 real training videos are named as the original of a fake"):
        paired(REALS + fakes, "unpaired", 0)


def test_only_training_is_on_a_part(tmp_path):
    records = REALS + FAKES
    manifest = Manifest((*records, *(dataclasses.replace(r, split="test") for r in records)), tmp_path)
    data = FaceDataModule(manifest, InputSpec("image", 32), pairing="paired", workers=0)
    assert data.records("train") == paired(records, "paired", 0)
    assert len(data.records("test")) == len(records)
    with pytest.raises(DfdError, match=r"data\.loader\.pairing=pair: take one of all, paired, unpaired"):
        FaceDataModule(manifest, InputSpec("image", 32), pairing="pair")
