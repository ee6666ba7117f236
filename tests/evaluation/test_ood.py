"""An OOD score table to numbers and a report: who is marked, what rejection does, what is said aloud."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from dfd.core.bank import FeatureBank
from dfd.core.errors import DfdError
from dfd.evaluation.ood.evaluate import check_options, evaluate_ood
from dfd.evaluation.ood.report import write_ood_report
from dfd.evaluation.ood.scores import by_video, read_scores, write_scores
from dfd.inference.ood import neighbourhoods


def table(seed=0, groups=60):
    """Known and strange videos of two views; `good` tells them apart, `twin` ranks as it does, `blind` guesses."""
    draw = np.random.default_rng(seed)
    rows = []
    for role, source, shift in (
        ("val", "a", 0), ("test", "a", 0), ("ood", "near", 1.5), ("ood", "far", 4), ("benign/jpeg75", "a", 0.5),
    ):  # fmt: skip
        for number in range(groups):
            base = draw.normal(shift)
            for t in (0.0, 1.0):
                good = base + draw.normal(0, 0.1)
                rows.append(
                    {
                        "video": f"{source}{number}", "role": role, "source": source, "label": number % 2, "t": t,
                        "right": float(base < 1.5), "group": f"{role}{number}", "score": draw.random(),
                        "ood.good": good, "ood.twin": 2 * good + 1, "ood.blind": draw.normal(),
                        "pca_x": draw.normal(), "pca_y": draw.normal(),
                        "tsne_x": draw.normal(), "tsne_y": draw.normal(),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_numbers_are_by_video_and_pooled_over_sources_and_classes():
    scores = table()
    evaluation = evaluate_ood(scores, {"good": 1.0, "twin": 3.0, "blind": 0.0}, resamples=200)
    assert evaluation.sources == ["all", "all reals", "all fakes", "far", "near"]
    videos = by_video(scores)
    some = videos[videos["role"].eq("test") | videos["source"].eq("near")]
    some = some[some["role"].isin(["test", "ood"])]
    value = evaluation.numbers["good"]["near"]["auroc"]
    assert value.value == pytest.approx(roc_auc_score(some["role"] == "ood", some["ood.good"]))
    assert value.low < value.value < value.high
    assert evaluation.counts == {"known": 60, "strange": 120, "groups": 240}


def test_only_what_beats_all_others_is_marked():
    scores = table()
    thresholds = dict.fromkeys(("good", "twin", "blind"), 1.0)
    evaluation = evaluate_ood(scores, thresholds, resamples=200)
    assert evaluation.best["all"] in ("good", "twin")  # one ranking: neither stands in the other's way
    assert ["good", "twin"] in evaluation.alike
    scores["ood.rival"] = scores["ood.good"] + np.random.default_rng(1).normal(0, 0.05, len(scores))
    evaluation = evaluate_ood(scores, thresholds | {"rival": 1.0}, resamples=200)
    assert "all" not in evaluation.best


def test_what_a_threshold_does():
    scores = table()
    answers = evaluate_ood(scores, {"good": 1.0, "twin": 3.0, "blind": 9.0}, resamples=50).answers
    videos = by_video(scores)
    for role, key in (("test", "known rejected"), ("ood", "strange rejected"), ("benign/jpeg75", "jpeg75 rejected")):
        share = (videos.loc[videos["role"] == role, "ood.good"] > 1).mean()
        assert answers["good"][key] == pytest.approx(share)
    assert answers["good"]["accuracy when answering"] > 0.99  # errors lie where the score is high
    assert answers["blind"]["known rejected"] == 0
    assert answers["twin"]["aurc"] == pytest.approx(answers["good"]["aurc"])


def test_a_report_is_made_from_its_files(tmp_path):
    write_scores(table(groups=4), tmp_path / "scores.parquet", {"good": 1.0, "twin": 3.0, "blind": 0.0})
    facts = {"title": "A <title>", "lead": "good", "left_out": {"ash": "negative"}, "sample": True}
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    evaluation = write_ood_report(tmp_path, resamples=50)
    assert any("intervals rest on" in note for note in evaluation.notes)
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    for written in (page, text):
        assert "SAMPLE" in written
        assert "ash: negative" in written
        assert "good, twin rank all videos alike" in written
    assert "A &lt;title&gt;" in page
    assert page.count("<svg") >= 7
    assert "(t-SNE), by source" in page
    assert json.loads((tmp_path / "metrics.json").read_text())["numbers"]["good"]["far"]["auroc"]["value"] > 0.9


def test_a_table_that_cannot_be_used_is_named(tmp_path):
    scores = table(groups=3)
    with pytest.raises(DfdError, match="an OOD score table needs"):
        write_scores(scores.drop(columns="role"), tmp_path / "s.parquet", {})
    scores.loc[0, "ood.good"] = np.nan
    with pytest.raises(DfdError, match="1 scores of good are not finite"):
        write_scores(scores, tmp_path / "s.parquet", {})
    with pytest.raises(DfdError, match="no OOD scores at"):
        read_scores(tmp_path / "none.parquet")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id_kept": 95}, "ood.id_kept=95: expected a share between 0 and 1"),
        ({"resamples": 0}, "ood.resamples=0: expected at least 1"),
    ],
)
def test_wrong_options_are_one_line(changes, message):
    good = {"id_kept": 0.95, "resamples": 500, "fit_limit": 5000, "benign_limit": 1000}
    check_options(good)
    with pytest.raises(DfdError, match=message):
        check_options(good | changes)


def test_neighbours_stay_neighbours_on_the_map():
    random = np.random.default_rng(0)
    centres = random.normal(0, 10, (2, 16))

    def bank(of: int, count: int) -> FeatureBank:
        features = centres[of] + random.normal(0, 1, (count, 16))
        columns = [np.array([f"v{n}" for n in range(count)])] * 3
        return FeatureBank(np.zeros((count, 2)), features, np.zeros(count, int), *columns, np.zeros(count))

    one, other = neighbourhoods(bank(0, 40), bank(1, 30))
    assert (one.shape, other.shape) == ((40, 2), (30, 2))
    within = max(np.ptp(one, 0).max(), np.ptp(other, 0).max())
    assert np.linalg.norm(one.mean(0) - other.mean(0)) > within / 2
    again, _ = neighbourhoods(bank(0, 2), bank(1, 1))
    assert np.isnan(again).all()  # too few for a map
