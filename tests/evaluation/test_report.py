"""Reports, comparisons, and the command that makes them."""

import json

import pandas as pd
import pytest

from dfd.cli.report import main, preset
from dfd.core import predictions
from dfd.evaluation.compare import collect, find, matrix, over_seeds, pairs, write_comparison
from dfd.evaluation.evaluate import evaluate
from dfd.evaluation.operating import decide
from dfd.evaluation.protocol import Protocol
from dfd.evaluation.report import html, read_evaluation, write_report
from dfd.evaluation.tables import export
from tests.evaluation.tables import table

QUICK = Protocol(resamples=50)


def make_run(folder, rows=None, **facts):
    place = folder / "eval" / "toy-test"
    predictions.write(table() if rows is None else rows, place / "predictions.parquet", {"model": "meso"})
    said = {"title": "meso on <Toy>", "model": "meso", "dataset": "toy", "run": folder.name, "seed": 3, "split": "test"}
    (place / "facts.json").write_text(json.dumps(said | facts))
    return place


@pytest.fixture
def run(tmp_path):
    facts = {
        "sample": True, "scaled_down": {"trainer.max_epochs": 2}, "notes": ["a note"], "config": "seed: 3",
        "failures": [{"video": "real/9", "stage": "crop", "reason": "no_face", "detail": "none on 8 frames"}],
        "history": [{"epoch": 0, "train/loss": 0.7, "val/auc": 0.6}, {"epoch": 1, "train/loss": 0.5, "val/auc": 0.8}],
        "thumbnails": {"B/000": "data:image/jpeg;base64,AAAA"}, "heat_maps": {"B/000": "data:image/png;base64,BBBB"},
        "touches": [{"when": "now", "command": "eval.py run=x", "auc": 0.75}], "cost": "3 s",
        "selection": {"chosen": 0.8, "chosen_name": "best.ckpt", "count": 4, "best": 0.85, "top3": 0.84},
    }  # fmt: skip
    place = make_run(tmp_path / "run1", **facts)
    decide(table(groups=20, seed=3), QUICK).write(place)
    write_report(place, Protocol(resamples=50, compatible="deepfakebench"))
    return tmp_path / "run1"


def test_the_report_says_everything_and_needs_no_network(run):
    folder = run / "eval" / "toy-test"
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    for shown in (page, text):
        for words in ("SAMPLE", "trainer.max_epochs=2", "a note", "no_face", "none on 8 frames", "36 videos", "chance",
                      "best on validation", "temperature", "Compatible and correct", "Protocol video"):  # fmt: skip
            assert words in shown, words
    for words in (
        "meso on &lt;Toy&gt;",
        "+0.0500",
        "looked at this test split 1 time",
        "Inconclusive between",
        "DET of",
    ):
        assert words in page, words
    assert page.count("<svg") >= 7
    assert "base64,BBBB" in page  # what drove the score, drawn over the face
    assert "base64,BBBB" in page
    assert "http" not in page
    assert "nan" not in page.lower().replace("inanimate", "").split("<style>")[0]
    assert json.loads((folder / "metrics.json").read_text())["counts"]["videos"] == 36


def test_the_page_shows_the_videos_that_the_numbers_count():
    rows = table().assign(score=lambda t: t["score"].where(t["t"] == 0, 1 - t["score"]))
    lost = pd.DataFrame(
        [("real/lost", "toy", "real", "h", 0)], columns=["video", "dataset", "method", "group", "label"]
    )
    protocol = Protocol(resamples=0, frames=1, pick="first", no_face="half")
    evaluation = evaluate(rows, protocol, missing=lost)
    expected = evaluate(rows[rows["t"] == 0], Protocol(resamples=0, no_face="half"), missing=lost)
    assert evaluation.video == expected.video
    page = html(evaluation, {}, rows, missing=lost)
    wrong = evaluation.points["0.5, fixed"]["fp"].value + evaluation.points["0.5, fixed"]["fn"].value
    assert page.count('<div class="face"') == min(wrong, 12) > 0
    assert "real/lost" in page


def test_a_report_without_facts(tmp_path):
    predictions.write(table(), tmp_path / "predictions.parquet", {})
    write_report(tmp_path, QUICK)
    assert "Evaluation" in (tmp_path / "report.html").read_text()
    assert "No validation split was scored" in (tmp_path / "report.html").read_text()


def test_a_report_is_made_anew_by_its_own_protocol(run):
    folder = run / "eval" / "toy-test"
    before = (folder / "metrics.json").read_text()
    write_report(folder)
    assert (folder / "metrics.json").read_text() == before
    assert read_evaluation(folder).protocol.compatible == "deepfakebench"


def test_forms_of_export(run):
    evaluation = read_evaluation(run / "eval" / "toy-test")
    latex = export(evaluation, "latex")
    assert r"\toprule" in latex
    assert r"pAUC 10 \%" in latex
    rows = pd.read_csv(pd.io.common.StringIO(export(evaluation, "csv")))
    assert rows.query("name == 'video' and metric == 'auc'")["value"].iloc[0] == evaluation.video["auc"].value


def test_runs_are_compared_and_damage_is_said(run, tmp_path, caplog, capsys):
    broken = tmp_path / "run2" / "eval" / "toy-test"
    broken.mkdir(parents=True)
    (broken / "metrics.json").write_text("{")
    (tmp_path / "run3").mkdir()
    assert list(collect([run, tmp_path / "run2", tmp_path / "run3"])["run"]) == ["run1"]
    assert "run2" in caplog.text
    assert "1 folder(s) without an evaluation are left out" in caplog.text
    assert main([str(run), "--output", str(tmp_path / "comparison"), "--rewrite", "--resamples", "20"]) == 0
    assert "SAMPLE" in capsys.readouterr().out
    assert "run1" in (tmp_path / "comparison" / "comparison.md").read_text()
    assert read_evaluation(run / "eval" / "toy-test").protocol.resamples == 20


def test_a_leaderboard_ranks_real_runs_apart_from_the_sample_and_seeds_together(run, tmp_path):
    for seed in (1, 2):
        rows = table(seed=seed)
        write_report(
            make_run(tmp_path / f"real{seed}", rows, seed=seed, overrides=["model=meso", f"seed={seed}"]), QUICK
        )
    assert len(find([tmp_path])) == 3
    board = collect([tmp_path])
    assert board["sample"].tolist() == [False, False, True]
    assert board["rank"].tolist()[:2] == [1, 2]
    assert pd.isna(board["rank"].iloc[2])
    (row,) = over_seeds(board).to_dict("records")
    assert row["seeds"] == 2
    assert row["sd"] == pytest.approx(board["auc"].head(2).std(ddof=1))
    assert matrix(board)[0] == ["toy"]
    found, notes = pairs(board.head(2))
    page = write_comparison(board, tmp_path / "out", found, notes).read_text()
    assert "not ranked" in page
    assert found[0].verdict().replace("<", "&lt;") in page
    assert "http" not in page
    assert len(json.loads((tmp_path / "out" / "comparison.json").read_text())["pairs"]) == 1


def test_only_trainings_of_one_recipe_are_joined_over_seeds(tmp_path):
    for seed, recipe in ((1, "aaaa"), (2, "bbbb"), (3, "aaaa")):
        facts = {"seed": seed, "recipe": recipe, "overrides": [f"run=outputs/{seed}"]}
        write_report(make_run(tmp_path / f"r{seed}", table(seed=seed), **facts), QUICK)
    board = collect([tmp_path])
    (row,) = over_seeds(board).to_dict("records")
    assert row["seeds"] == 2
    assert row["auc"] == pytest.approx(board[board["seed"] != 2]["auc"].mean())


def test_runs_of_one_folder_name_are_told_apart_and_the_newest_evaluation_counts(tmp_path):
    for number, name in enumerate("AB"):
        home = tmp_path / "sweeps" / name / "0_seed=1"
        write_report(make_run(home, table(seed=number), started="2026-01-01 10:00"), QUICK)
    facts = {"run": "0_seed=1", "checkpoint": str(home / "checkpoints/best.ckpt"), "started": "2026-01-02 10:00"}
    later = make_run(tmp_path / "elsewhere", table(seed=7), **facts)
    later.rename(tmp_path / "later")
    newest = write_report(tmp_path / "later", QUICK).video["auc"]
    board = collect([tmp_path / "sweeps", tmp_path / "later"])
    _, rows = matrix(board)
    assert {name for name, *_ in rows} == {"A/0_seed=1", "B/0_seed=1"}
    assert {name: cells for name, cells, _ in rows}["B/0_seed=1"] == [newest]
    page = write_comparison(board, tmp_path / "out").read_text()
    assert "B/0_seed=1 was evaluated 2 times on toy (test)" in page


def test_folders_within_folders_are_named_once(run, tmp_path, capsys):
    everything = [str(path) for path in (tmp_path, *sorted(tmp_path.rglob("*")))]  # what outputs/** expands to
    assert main(everything) == 0
    assert capsys.readouterr().out.count("run1") >= 1
    assert len(collect([tmp_path, *tmp_path.rglob("*")])) == 1


def test_a_probe_that_was_run_is_a_row_of_others(tmp_path):
    write_report(make_run(tmp_path / "probe", table(seed=9), probe=True, manifest="m", model="vit"), QUICK)
    evaluation = write_report(make_run(tmp_path / "ours", manifest="m"), QUICK)
    assert list(evaluation.baselines) == ["chance", "linear probe (vit)"]
    other = write_report(make_run(tmp_path / "other", manifest="n"), QUICK)
    assert list(other.baselines) == ["chance"]


@pytest.mark.parametrize("file", ["facts.json", "metrics.json"])
def test_a_damaged_probe_ends_no_other_report(tmp_path, caplog, file):
    place = make_run(tmp_path / "probe", probe=True, manifest="m")
    write_report(place, QUICK)
    (place / file).write_text('{"counts"')
    evaluation = write_report(make_run(tmp_path / "ours", manifest="m"), QUICK)
    assert list(evaluation.baselines) == ["chance"]
    assert f"{place / file} is damaged" in caplog.text


def test_files_of_one_name_have_a_folder_each(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        table().to_csv(tmp_path / name / "p.csv", index=False)
    files = [str(tmp_path / name / "p.csv") for name in ("a", "b")]
    assert main([*files, "--resamples", "20", "--output", str(tmp_path / "out")]) == 0
    assert {path.parent.name for path in (tmp_path / "out").glob("*/report.html")} == {"a_p.csv", "b_p.csv"}
    assert "no difference between a/p.csv and b/p.csv" in capsys.readouterr().out
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "a_p.csv").write_text("")
    assert main([*files, "--resamples", "20", "--output", str(tmp_path / "file")]) == 2
    assert "a_p.csv is a file" in capsys.readouterr().err


def test_numbers_of_runs_change_with_rewrite_only(run, capsys):
    assert main([str(run), "--eval", "dfdc", "--threshold", "0.9"]) == 2
    assert "--eval, --threshold would not change the numbers of runs" in capsys.readouterr().err
    assert main([str(run), "--threshold", "0.9", "--rewrite"]) == 0
    assert read_evaluation(run / "eval" / "toy-test").protocol.threshold == 0.9


def test_anybodys_predictions(tmp_path, capsys):
    table().to_csv(tmp_path / "theirs.csv", index=False)
    assert main([str(tmp_path / "theirs.csv"), "--resamples", "20"]) == 0
    assert "36 videos" in capsys.readouterr().out


def test_two_files_of_predictions_and_one_of_labels(tmp_path, capsys):
    videos = table().groupby("video").agg(score=("score", "mean"), label=("label", "first")).reset_index()
    videos[["video", "score"]].to_csv(tmp_path / "ours.csv", index=False)
    videos.assign(score=lambda t: 1 - t["score"])[["video", "score"]].to_csv(tmp_path / "theirs.csv", index=False)
    videos[["video", "label"]].to_csv(tmp_path / "labels.csv", index=False)
    files = [str(tmp_path / f"{name}.csv") for name in ("ours", "theirs", "labels")]
    assert main([*files, "--resamples", "50", "--output", str(tmp_path / "page"), "--eval", "dfdc"]) == 0
    assert "ours is better than theirs on labels" in capsys.readouterr().out
    assert json.loads((tmp_path / "page" / "pairs.json").read_text())[0]["videos"] == 36
    for suffix in ("csv", "tex", "md", "json"):
        assert (tmp_path / "page" / "ours" / f"report_table.{suffix}").stat().st_size > 100
    assert (tmp_path / "page" / "theirs" / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no run and no file at"),
        (["nothing.csv"], "no run and no file at"),
        (["{here}"], "no evaluation under"),
        (["{here}/a.txt"], "is neither a run folder nor a file of .csv"),
        (["{here}/p.csv", "--eval", "vidoe"], "did you mean 'video'"),
        (["{here}/p.csv", "--output", "{here}/o", "--format", "word"], "no form 'word' to export"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, message, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("x")
    table(groups=2).to_csv(tmp_path / "p.csv", index=False)
    assert main([word.format(here=tmp_path) for word in arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error


def test_presets():
    assert preset("dfdc").no_face == "half"
    assert preset("deepfakebench").level == "frame"
    assert preset("video") == Protocol()
