"""Datasets, conditions and detectors side by side."""

import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from dfd.core.errors import DfdError
from dfd.evaluation.compare import differing
from dfd.evaluation.cross import crossing, plain
from dfd.evaluation.evaluate import evaluate
from dfd.evaluation.protocol import Protocol
from dfd.evaluation.robustness import curves, markdown, robustness
from dfd.evaluation.tables import evaluation_table
from dfd.evaluation.versus import versus
from tests.evaluation.tables import table

QUICK = Protocol(resamples=200)


def test_a_shift_between_datasets_shows_where_each_alone_hides_it():
    shifted = table(dataset="b", seed=1).assign(score=lambda t: t["score"] * 0.3 + 0.7)
    found = crossing({"a": table(dataset="a"), "b": shifted}, QUICK)
    own = [number.value for number in found.each.values()]
    assert found.macro.value == pytest.approx(np.mean(own))
    assert found.macro.low < found.macro.value < found.macro.high
    assert found.pooled.value < min(own) - 0.05
    assert found.mixed["a"]["b"] > 0.99
    assert found.mixed["b"]["a"] < 0.6
    assert found.mixed["a"]["a"] == found.each["a"].value
    assert found.shared["b"]["fpr"] > found.shared["a"]["fpr"] + 0.5
    assert plain(found)["videos"] == {"a": 36, "b": 36}


def test_a_matrix_needs_two_datasets():
    with pytest.raises(DfdError, match="at least two datasets, got a"):
        crossing({"a": table()}, QUICK)


def test_robustness_is_a_mean_over_kinds_with_a_paired_loss():
    tables = {("blur", level): table(noise=0.1 * level) for level in (1, 3, 5)}
    tables |= {("jpeg", 1): table()}
    found = robustness(table(), tables, QUICK)
    assert found.kinds["jpeg"].value == found.clean.value
    assert found.mean.value == pytest.approx((found.kinds["blur"].value + found.clean.value) / 2)
    assert found.loss.value == pytest.approx(found.clean.value - found.mean.value)
    assert found.loss.low <= found.loss.value <= found.loss.high
    assert found.each["blur"][1].value > found.each["blur"][5].value
    assert [name for name, _ in curves(found)] == ["All kinds", "blur", "jpeg"]
    assert "| jpeg |" in markdown(found, [1, 3, 5])


def test_a_better_detector_is_said_to_be_better():
    rows = table(groups=60, noise=0.2)
    worse = rows.assign(score=lambda t: t["score"] + np.repeat(np.random.default_rng(1).normal(0, 0.6, len(t) // 4), 4))
    (found,) = versus({"ours": rows, "theirs": worse}, QUICK, "Celeb-DF")
    assert found.low < found.difference < found.high
    assert found.values[0] - found.values[1] == pytest.approx(found.difference)
    assert found.verdict().startswith("ours is better than theirs on Celeb-DF by ")
    (other,) = versus({"theirs": worse, "ours": rows}, QUICK, "Celeb-DF")
    assert other.verdict().startswith("ours is better than theirs on Celeb-DF by ")
    assert found.low > 0
    assert found.p < 0.05


def test_no_difference_is_not_called_one_and_many_are_corrected():
    rows = table(groups=30)
    alike = {f"d{i}": rows.assign(score=lambda t, i=i: t["score"] + i * 1e-4 * (t["t"] > 0.1)) for i in range(4)}
    found = versus(alike, QUICK)
    assert len(found) == 6
    assert all("no difference" in pair.verdict() and "6 comparisons" in pair.verdict() for pair in found)
    assert all(pair.adjusted >= pair.p for pair in found)


def test_what_cannot_be_tested_is_said_and_not_counted():
    rows = table()
    worse = rows.assign(score=lambda t: 1 - t["score"])

    def verdict(chosen, **changes):
        (found,) = versus({"a": rows[chosen].assign(**changes), "b": worse[chosen].assign(**changes)}, QUICK)
        assert np.isnan(found.adjusted)
        assert found.comparisons == 0
        assert json.loads(json.dumps(found.plain(), allow_nan=False))["p"] is None
        return found.verdict()

    real = rows["label"] == 0
    assert "cannot be compared on toy: a class comes from one group only" in verdict(rows["t"] >= 0, group="g")
    assert "cannot be compared on toy: a class has one video only" in verdict(~real | (rows["group"] == "g1"))
    assert "cannot be compared on toy: a class is missing" in verdict(~real)


def test_only_shared_videos_are_compared():
    rows = table()
    (found,) = versus({"all": rows, "some": rows[rows["group"] < "g5"]}, QUICK)
    assert found.videos < 36
    assert found.unshared == 36 - found.videos
    with pytest.raises(DfdError, match="share no video"):
        versus({"a": rows, "b": rows.assign(video="x" + rows["video"])}, QUICK)
    with pytest.raises(DfdError, match="disagree about the label of"):
        versus({"a": rows, "b": rows.assign(label=1 - rows["label"])}, replace(QUICK, resamples=0))


def test_settings_in_which_runs_differ_are_columns():
    overrides = ["model=meso +optimizer.lr=0.1 seed=1", "model=meso optimizer.lr=0.2 seed=2", "data=ffpp seed=3"]
    found = differing(pd.DataFrame({"overrides": overrides}))
    assert found == {"optimizer.lr": ["0.1", "0.2", ""]}
    assert differing(pd.DataFrame({"overrides": ["a=1", "a=1"]})) == {}


def test_a_narrow_terminal_breaks_numbers_and_cuts_none():
    shown = io.StringIO()
    evaluation = evaluate(table(), QUICK)
    Console(file=shown, width=44).print(evaluation_table(evaluation, "meso"))
    text = "".join(character for character in shown.getvalue() if character not in " │\n")
    assert "…" not in text
    assert f"[{evaluation.video['auc'].low:.3f}" in text
    assert f"{evaluation.video['auc'].high:.3f}]" in text


def test_robustness_counts_donors_as_well_as_targets():
    rows = table(groups=24)
    fakes = rows["label"] == 1
    donors = rows["group"].where(~fakes, "g" + (rows["group"].str.extract(r"(\d+)")[0].astype(int) // 6).astype(str))
    crossed = rows.assign(donor=donors)
    tables = {("blur", level): table(groups=24, noise=0.1 * level) for level in (1, 3)}
    plain = robustness(rows, tables, QUICK)
    both = robustness(crossed, {name: part.assign(donor=donors) for name, part in tables.items()}, QUICK)
    assert both.mean.value == plain.mean.value
    assert both.clean.high - both.clean.low >= plain.clean.high - plain.clean.low
    assert both.loss.high - both.loss.low >= (plain.loss.high - plain.loss.low) * (1 - 1e-9)
