"""Tables to numbers: levels, methods, attributes, repeated and missing rows, bad input."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from dfd.core.errors import DfdError
from dfd.core.predictions import COLUMNS
from dfd.evaluation.compatible import deepfakebench, nearest_eer, tall
from dfd.evaluation.evaluate import Evaluation, evaluate
from dfd.evaluation.numbers import NAMES
from dfd.evaluation.operating import Operating, decide
from dfd.evaluation.protocol import Protocol, by_video, limited
from dfd.metrics.measures import names
from dfd.metrics.ranking import roc_auc
from tests.evaluation.tables import table

QUICK = Protocol(resamples=50)


def test_numbers_by_level_and_method():
    evaluation = evaluate(table(), replace(QUICK, resamples=100))
    counts = {"rows": 144, "videos": 36, "real": 12, "fake": 24, "groups": 12, "without_prediction": 0}
    assert evaluation.counts == counts
    assert evaluation.methods["A"]["auc"].value > evaluation.methods["B"]["auc"].value
    mixed = np.mean([evaluation.methods[m]["auc"].value for m in "AB"])
    assert evaluation.video["auc"].value == pytest.approx(mixed)  # as many of each, against the same reals
    assert evaluation.video["auc"].low <= evaluation.video["auc"].value <= evaluation.video["auc"].high
    assert evaluation.frame["auc"].value != evaluation.video["auc"].value
    assert evaluation.headline is evaluation.video
    assert evaluate(table(), replace(QUICK, level="frame")).headline["auc"].value == evaluation.frame["auc"].value


def test_shuffled_and_repeated_rows_change_nothing():
    rows = table()
    expected = evaluate(rows, QUICK)
    assert str(evaluate(rows.sample(frac=1, random_state=1), QUICK)) == str(expected)
    padded = evaluate(pd.concat([rows, rows.head(7)]), QUICK)
    assert padded.video == expected.video
    assert "7 repeated rows were dropped" in padded.notes


def test_videos_of_one_name_in_other_methods_or_datasets_are_not_merged():
    assert evaluate(table(groups=3), QUICK).counts["videos"] == 9
    both = pd.concat([table(groups=3), table(groups=3, dataset="other")])
    assert evaluate(both, QUICK).counts["videos"] == 18


def test_one_class_is_said_and_not_made_up():
    evaluation = evaluate(table().query("label == 1"), QUICK)
    assert np.isnan(evaluation.video["auc"].value)
    assert str(evaluation.video["auc"]) == "-"
    assert not np.isnan(evaluation.video["accuracy"].value)
    assert any("only fake videos" in note for note in evaluation.notes)


def test_few_groups_and_constant_scores_are_said():
    assert any("one group" in note for note in evaluate(table(groups=1), QUICK).notes)
    assert any("3 groups only" in note for note in evaluate(table(groups=3), QUICK).notes)
    constant = evaluate(table().assign(score=0.7), QUICK)
    assert constant.video["auc"].value == 0.5
    assert any("every score is 0.7" in note for note in constant.notes)


def test_unbounded_scores_rank_and_have_no_log_loss():
    evaluation = evaluate(table().assign(score=lambda t: 40 * t["score"] - 9), QUICK)
    assert evaluation.video["auc"].value == pytest.approx(evaluate(table(), QUICK).video["auc"].value)
    assert np.isnan(evaluation.video["log_loss"].value)


@pytest.mark.parametrize("rows", [table(), table().query("label == 1"), table().assign(score=lambda t: t["score"] * 9)])
def test_json_round_trip(rows):
    evaluation = evaluate(rows, replace(QUICK, frames=2, compatible="deepfakebench"))
    assert str(Evaluation.from_json(evaluation.to_json())) == str(evaluation)


def test_attributes_have_a_table_each():
    rows = table().assign(compression=lambda t: np.where(t["group"].str[1:].astype(int) % 2, "c23", "c40"))
    slices = evaluate(rows, QUICK).slices
    assert set(slices) == {"compression"}
    half = rows[rows["compression"] == "c40"]
    assert slices["compression"]["c40"]["auc"].value == evaluate(half, QUICK).video["auc"].value
    both = pd.concat([table(), table(dataset="other")])
    assert set(evaluate(both, QUICK).slices["dataset"]) == {"toy", "other"}


def missing(videos=3):
    rows = [(f"A/lost{i}", "toy", "A", f"h{i}", 1) for i in range(videos)] + [("real/lost", "toy", "real", "h0", 0)]
    return pd.DataFrame(rows, columns=["video", "dataset", "method", "group", "label"])


def test_videos_without_a_face_count_as_the_protocol_says():
    clean = evaluate(table(), QUICK)
    excluded = evaluate(table(), QUICK, missing=missing())
    assert excluded.video["auc"] == clean.video["auc"]
    assert excluded.counts["without_prediction"] == 4
    assert any("4 videos (1 real, 3 fake) have no prediction: left out of every number" in n for n in excluded.notes)
    half = evaluate(table(), replace(QUICK, no_face="half"), missing=missing())
    assert half.counts["videos"] == 40
    assert half.video["auc"].value != clean.video["auc"].value
    abstained = evaluate(table(), replace(QUICK, no_face="abstain"), missing=missing())
    assert abstained.video["auc"] == clean.video["auc"]
    assert abstained.video["accuracy"].value == pytest.approx(clean.video["accuracy"].value * 36 / 40)


def test_a_decision_that_was_not_made_is_wrong_in_every_table():
    right = table(dataset="a").assign(score=lambda t: t["label"].astype(float))
    rows = pd.concat([right, right.assign(dataset="b")]).assign(compression="c23", track=0)
    rows.loc[rows["group"] < "g3", "compression"] = "c40"
    found = evaluate(rows, replace(QUICK, no_face="abstain", level="track"), missing=missing().assign(dataset="b"))

    def accuracy(numbers):
        return numbers["accuracy"].value

    assert accuracy(found.video) == accuracy(found.track) == pytest.approx(72 / 76)
    assert accuracy(found.frame) == pytest.approx(288 / 292)
    assert accuracy(found.methods["A"]) == pytest.approx(48 / 52)
    assert accuracy(found.methods["B"]) == pytest.approx(48 / 49)
    assert accuracy(found.slices["dataset"]["b"]) == pytest.approx(36 / 40)
    assert accuracy(found.slices["dataset"]["a"]) == accuracy(found.slices["compression"]["c23"]) == 1
    assert any("in no table by compression" in note for note in found.notes)
    alone = evaluate(rows[rows["method"] != "A"], replace(QUICK, no_face="abstain"), missing=missing())
    assert accuracy(alone.methods["A"]) == pytest.approx(24 / 28)
    assert np.isnan(alone.methods["A"]["auc"].value)


@pytest.mark.parametrize("track", [0, "0"])
def test_videos_without_a_face_join_a_table_of_people(track):
    half = evaluate(table().assign(track=track), replace(QUICK, no_face="half"), missing=missing())
    assert half.video == evaluate(table(), replace(QUICK, no_face="half"), missing=missing()).video


def test_people_of_one_video_are_pooled_one_by_one():
    rows = table().assign(track=0)
    second = rows.assign(track=1, score=0.05)
    both = pd.concat([rows, second])
    joined = by_video(both, QUICK)
    assert joined["score"].to_numpy() == pytest.approx(by_video(rows, QUICK)["score"].clip(lower=0.05).to_numpy())
    assert evaluate(both, replace(QUICK, level="track")).counts["rows"] == 288
    assert evaluate(both, replace(QUICK, level="track")).headline["auc"].value < 0.9
    with pytest.raises(DfdError, match="no column track"):
        evaluate(table(), replace(QUICK, level="track"))


def test_a_budget_of_frames():
    rows = table(groups=2, frames=9)
    for frames, times in ((1, [4]), (2, [0, 8]), (3, [0, 4, 8]), (5, [0, 2, 4, 6, 8]), (20, range(9))):
        kept = limited(rows, Protocol(frames=frames))
        assert all([round(25 * t) for t in part["t"]] == list(times) for _, part in kept.groupby("video")), frames
    first = limited(rows, Protocol(frames=2, pick="first"))
    assert set(first["t"]) == {0, 1 / 25}


@pytest.mark.parametrize("frames", range(1, 16))
def test_a_budget_is_kept_exactly(frames):
    assert (limited(table(groups=2, frames=16), Protocol(frames=frames)).groupby("video").size() == frames).all()


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(DfdError, match="4 scores are not finite"):
        evaluate(table().assign(score=lambda t: t["score"].where(t["video"] != "A/001")))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"level": "pixel"}, "eval.level='pixel': allowed are video, track, clip, frame"),
        ({"no_face": "guess"}, "eval.no_face='guess'"),
        ({"levle": "video"}, "did you mean 'level'"),
        ({"confidence": 95}, "share between 0 and 1"),
        ({"frames": 0}, "1 or more"),
        ({"headline": ["auc", "f1_score"]}, "eval.headline: there is no metric 'f1_score'"),
        ({"headline": ["acuracy"]}, "did you mean 'accuracy'"),
        ({"compatible": "me"}, "allowed are null, deepfakebench, tall"),
    ],
)
def test_a_wrong_protocol_is_one_line(values, message):
    with pytest.raises(DfdError, match=message):
        Protocol.of(values)


def test_every_metric_can_stand_in_the_headline():
    assert set(names()) <= set(NAMES)
    assert set(NAMES) - set(names()) == {"ap_chance", "ece_calibrated"}


def test_deepfakebench_merges_videos_of_one_folder_name():
    """Two fakes of one name, one found and one missed, become one video there."""
    rows = [("real/a", 0, 0.4), ("real/b", 0, 0.3), ("A/x_y", 1, 0.9), ("B/x_y", 1, 0.2)]
    small = pd.DataFrame([(v, "toy", v[0], v, label, 0.0, s) for v, label, s in rows], columns=list(COLUMNS))
    pair = {pair.name: pair for pair in deepfakebench(small)}["video AUC"]
    assert (pair.theirs, pair.ours) == (1.0, 0.5)
    assert "1 of 4 videos vanish" in pair.why
    clips = {pair.name: pair for pair in deepfakebench(table(), clips=True)}["video AUC"]
    assert clips.theirs == roc_auc(table()["label"].to_numpy(), table()["score"].to_numpy())


def test_talls_script_drops_the_last_videos_of_its_list():
    rows = table(groups=5)  # 15 videos
    names = sorted(rows["video"].unique())
    order = {name: place for place, name in enumerate(np.random.default_rng(3).permutation(names))}
    listed = rows.assign(order=rows["video"].map(order))
    videos = by_video(listed, Protocol(pool="logit_mean")).sort_values("order")
    batches = [videos.iloc[start : start + 4] for start in range(0, 15, 4)]
    seen = pd.concat([batch for batch in batches if len(batch) == 4])  # a loader with drop_last
    (pair, _) = tall(listed)
    assert pair.theirs == roc_auc(seen["label"].to_numpy(), seen["score"].to_numpy())
    assert "last 3 of 15 videos of the list are dropped" in pair.why


def test_without_the_list_videos_are_dropped_by_name():
    rows = table(groups=5)
    pair = tall(rows)[0]
    assert "last 3 of 15 videos by name" in pair.why
    kept = by_video(rows, Protocol(pool="logit_mean")).head(12)
    assert pair.theirs == roc_auc(kept["label"].to_numpy(), kept["score"].to_numpy())
    assert "raw logit of the class fake" in tall(rows.assign(raw=rows["score"]))[0].why


@given(st.integers(0, 10**6), st.booleans())
def test_deepfakebenchs_eer_is_that_of_its_own_arithmetic(seed, ties):
    random = np.random.default_rng(seed)
    labels = np.append([0, 1], random.integers(0, 2, random.integers(2, 60)))
    scores = random.normal(labels, 1.0)
    scores = np.round(scores) if ties else scores
    fpr, tpr, _ = sklearn.metrics.roc_curve(labels, scores, pos_label=1)  # drops points on straight lines
    fnr = 1 - tpr
    assert nearest_eer(labels, scores) == pytest.approx(fpr[np.nanargmin(np.abs(fnr - fpr))], abs=1e-12)


def test_corners_alone_give_another_eer_than_every_point():
    different = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        labels = random.integers(0, 2, 60)
        scores = random.normal(labels, 1.0)
        fpr, tpr, _ = sklearn.metrics.roc_curve(labels, scores, drop_intermediate=False)
        different += abs(nearest_eer(labels, scores) - fpr[np.argmin(np.abs(1 - tpr - fpr))]) > 1e-9
    assert 10 <= different <= 40  # of a hundred tables


def test_the_nearest_equal_error_rate_is_not_interpolated():
    assert nearest_eer(np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.5, 0.9])) == pytest.approx(1 / 3)


def test_validation_decides_and_is_kept(tmp_path):
    operating = decide(table(groups=20, seed=5), QUICK, {"dataset": "toy"})
    assert operating.facts["videos"] == 60
    operating.write(tmp_path)
    assert str(Operating.read(tmp_path)) == str(operating)
    assert Operating.read(tmp_path / "none") is None
    low, high = operating.band
    assert [operating.verdict(score) for score in (low - 0.01, (low + high) / 2, high + 0.01)] == [
        "real", "inconclusive", "fake",
    ]  # fmt: skip
    evaluation = evaluate(table(), QUICK, operating=operating)
    assert list(evaluation.points) == ["0.5, fixed", "best on validation", "5% FPR on validation"]
    point = evaluation.points["5% FPR on validation"]
    assert point["threshold"].low <= point["threshold"].value
    assert set(evaluation.calibrated) == {"none", "temperature", "platt", "beta", "isotonic"}
    assert evaluation.calibrated["platt"]["log_loss"] < evaluation.calibrated["none"]["log_loss"]
    (tmp_path / "operating.json").write_text("{")
    with pytest.raises(DfdError, match="damaged"):
        Operating.read(tmp_path)


def test_validation_decides_by_the_rows_that_the_protocol_counts():
    rows = table(groups=20)
    later = rows.assign(score=lambda t: t["score"].where(t["t"] == 0, 1 - t["score"]))
    first = replace(QUICK, frames=1, pick="first")
    assert decide(later, first).thresholds == decide(rows[rows["t"] == 0], QUICK).thresholds
    assert decide(later, first).band == decide(rows[rows["t"] == 0], QUICK).band


def test_few_validation_videos_make_no_band():
    operating = decide(table(groups=4), QUICK)
    assert operating.band is None
    assert "need 9 validation groups" in operating.notes[0]
    assert operating.verdict(0.99) == "fake"


def test_scores_that_are_no_probabilities_are_calibrated_by_platt():
    operating = decide(table(groups=20).assign(score=lambda t: 10 * t["score"] - 5), QUICK)
    assert operating.chosen == "platt"
    assert 0 < operating.calibrate(np.array([0.0]))[0] < 1


def test_evaluation_loads_no_torch():
    code = (
        "import sys, dfd.evaluation.report, dfd.evaluation.compare, dfd.evaluation.cross, dfd.evaluation.importers, "
        "dfd.evaluation.robustness, dfd.cli.report; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_fakes_of_a_target_and_a_donor_depend_on_each_other_through_both():
    random, rows = np.random.default_rng(0), []
    look = random.normal(0, 1, 6)
    for i in range(120):
        label, donor = i % 2, int(random.integers(6))
        score = label * (1 + look[donor]) + random.normal(0, 0.5)
        person = f"actor{donor}" if label else None
        rows.append((f"v{i:03d}", "toy", "swap" if label else "real", f"id{i}", label, 0.0, score, person))
    people = pd.DataFrame(rows, columns=[*COLUMNS, "donor"])
    alone, both = (evaluate(t, QUICK).video["auc"] for t in (people.drop(columns="donor"), people))
    assert both.value == alone.value
    assert both.high - both.low > 1.5 * (alone.high - alone.low)
    assert evaluate(people, QUICK).slices == {}  # a donor is not an attribute
