"""Tables to numbers, reports and comparisons."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from dfd.cli.report import main
from dfd.core import predictions
from dfd.core.errors import DfdError
from dfd.evaluation.compare import collect
from dfd.evaluation.evaluate import Evaluation, evaluate
from dfd.evaluation.report import write_report


def table(groups=12, frames=4, seed=0):
    """One real and two fakes per group; the fakes of method B are harder. All share their file's name."""
    random = np.random.default_rng(seed)
    rows = []
    for group in range(groups):
        for method, label, shift in (("real", 0, 0.0), ("A", 1, 0.5), ("B", 1, 0.15)):
            centre = 0.3 + shift + random.normal(0, 0.1)
            for t in range(frames):
                score = float(np.clip(centre + random.normal(0, 0.1), 0, 1))
                rows.append((f"{method}/{group:03d}", "toy", method, f"g{group}", label, t / 25, score))
    return pd.DataFrame(rows, columns=list(predictions.COLUMNS))


def test_numbers_by_level_and_method():
    evaluation = evaluate(table(), resamples=100)
    assert evaluation.counts == {"rows": 144, "videos": 36, "real": 12, "fake": 24, "groups": 12}
    assert evaluation.methods["A"]["auc"].value > evaluation.methods["B"]["auc"].value
    mixed = np.mean([evaluation.methods[m]["auc"].value for m in "AB"])
    assert evaluation.video["auc"].value == pytest.approx(mixed)  # as many of each, against the same reals
    assert evaluation.video["auc"].low <= evaluation.video["auc"].value <= evaluation.video["auc"].high
    assert evaluation.frame["auc"].value != evaluation.video["auc"].value


def test_shuffled_and_repeated_rows_change_nothing():
    rows = table()
    expected = evaluate(rows, resamples=50)
    assert evaluate(rows.sample(frac=1, random_state=1), resamples=50) == expected
    padded = evaluate(pd.concat([rows, rows.head(7)]), resamples=50)
    assert padded.video == expected.video
    assert "7 repeated rows were dropped" in padded.notes


def test_methods_that_share_file_names_are_not_merged():
    rows = table(groups=3)
    assert evaluate(rows, resamples=0).counts["videos"] == 9


def test_one_class_is_said_and_not_made_up():
    evaluation = evaluate(table().query("label == 1"), resamples=50)
    assert np.isnan(evaluation.video["auc"].value)
    assert str(evaluation.video["auc"]) == "-"
    assert not np.isnan(evaluation.video["accuracy"].value)
    assert any("only fake videos" in note for note in evaluation.notes)


def test_few_groups_are_said():
    assert any("one group" in note for note in evaluate(table(groups=1), resamples=50).notes)
    assert any("3 groups only" in note for note in evaluate(table(groups=3), resamples=50).notes)


def test_json_round_trip():
    evaluation = evaluate(table().query("label == 1"), resamples=50)
    assert str(Evaluation.from_json(evaluation.to_json())) == str(evaluation)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run1" / "eval" / "toy-test"
    predictions.write(table(), folder / "predictions.parquet", {"model": "meso"})
    facts = {
        "title": "meso on <Toy>", "model": "meso", "dataset": "toy", "sample": True, "run": "run1", "seed": 3,
        "scaled_down": {"trainer.max_epochs": 2}, "notes": ["a note"], "config": "seed: 3",
        "failures": [{"video": "real/9", "stage": "crop", "reason": "no_face", "detail": "none on 8 frames"}],
        "history": [{"epoch": 0, "train/loss": 0.7, "val/auc": 0.6}, {"epoch": 1, "train/loss": 0.5, "val/auc": 0.8}],
        "thumbnails": {"B/000": "data:image/jpeg;base64,AAAA"},
    }  # fmt: skip
    (folder / "facts.json").write_text(json.dumps(facts))
    write_report(folder, resamples=50)
    return tmp_path / "run1"


def test_the_report_says_everything_and_needs_no_network(run):
    folder = run / "eval" / "toy-test"
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    for shown in (page, text):
        for words in ("SAMPLE", "trainer.max_epochs=2", "a note", "no_face", "none on 8 frames", "36 videos"):
            assert words in shown
    assert "meso on &lt;Toy&gt;" in page
    assert page.count("<svg") >= 7
    assert "http" not in page
    assert json.loads((folder / "metrics.json").read_text())["counts"]["videos"] == 36


def test_a_report_without_facts(tmp_path):
    predictions.write(table(), tmp_path / "predictions.parquet", {})
    write_report(tmp_path, resamples=20)
    assert "Evaluation" in (tmp_path / "report.html").read_text()


def test_runs_are_compared_and_damage_is_said(run, tmp_path, caplog, capsys):
    broken = tmp_path / "run2" / "eval" / "toy-test"
    broken.mkdir(parents=True)
    (broken / "metrics.json").write_text("{")
    assert list(collect([run, tmp_path / "run2"])["run"]) == ["run1"]
    assert "run2" in caplog.text
    assert main([str(run), "--output", str(tmp_path / "comparison"), "--rewrite", "--resamples", "20"]) == 0
    assert "SAMPLE" in capsys.readouterr().out
    assert "run1" in (tmp_path / "comparison" / "comparison.md").read_text()


def test_anybodys_predictions(tmp_path, capsys):
    table().to_csv(tmp_path / "theirs.csv", index=False)
    assert main([str(tmp_path / "theirs.csv"), "--resamples", "20"]) == 0
    assert "36 videos" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["nothing", "nothing.csv"])
def test_what_is_missing_is_one_line(missing, tmp_path, capsys):
    assert main([str(tmp_path / missing)]) == 2
    assert capsys.readouterr().err.startswith("error: no ")


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(DfdError, match="4 scores are not finite"):
        evaluate(table().assign(score=lambda t: t["score"].where(t["video"] != "A/001")))


def test_evaluation_loads_no_torch():
    code = "import sys, dfd.evaluation.report, dfd.evaluation.compare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
