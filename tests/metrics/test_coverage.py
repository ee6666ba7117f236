"""Intervals hold the truth as often as they say, over designs, numbers of groups and AUCs; seeded, so it cannot flake.

`scripts/simulate_intervals.py` has the same designs with many more samples; its table is in the documentation.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "simulate_intervals.py"
spec = importlib.util.spec_from_file_location("simulate_intervals", SCRIPT)
simulation = importlib.util.module_from_spec(spec)
sys.modules["simulate_intervals"] = simulation
spec.loader.exec_module(simulation)
DRAWS = 100  # a coverage of .95 is seen as .91 to .99


@pytest.mark.parametrize("auc", simulation.TRUTHS)
@pytest.mark.parametrize(("groups", "draws"), [(8, DRAWS), (16, DRAWS), (70, 50)])
def test_pairs_of_videos_as_in_faceforensics(groups, draws, auc):
    held, above, _ = simulation.coverage(
        simulation.ours, lambda random, auc: simulation.pairs(random, auc, groups, 0.3), auc, draws
    )
    assert held >= 0.9
    assert above <= 0.07  # few misses flatter the detector


@pytest.mark.parametrize("auc", simulation.TRUTHS)
def test_independent_and_crossed_videos(auc):
    for design in (simulation.independent, lambda random, auc: simulation.crossed(random, auc, 15)):
        assert simulation.coverage(simulation.ours, design, auc, 60)[0] >= 0.9


def test_the_percentiles_that_were_replaced_flattered():
    def design(random, auc):
        return simulation.pairs(random, auc, 8, 0.7)

    held, above, _ = simulation.coverage(simulation.expanded_percentiles, design, 0.98, 40)
    assert held < 0.85
    assert above > 0.1


def test_no_interval_is_certain():
    random = np.random.default_rng(0)
    for seed in range(20):
        low, high = simulation.ours(simulation.pairs(np.random.default_rng(seed), 0.9999, 8, random.uniform()))
        assert high - low > 0.01
