"""Anyone's predictions: CSV, JSON, pickles, joined by name; what is wrong is one line."""

import json
import pickle
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfd.core.errors import DfdError
from dfd.evaluation.evaluate import evaluate
from dfd.evaluation.importers import read_all
from dfd.evaluation.prediction_files import read_file
from dfd.evaluation.protocol import Protocol


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def only(*paths):
    (imported,) = read_all(paths).values()
    return imported


LABELS = "filename,label\na.mp4,0\nb.mp4,1\nc.mp4,1\n"


def test_predictions_and_labels_are_joined_by_name_in_any_order(tmp_path):
    labels = write(tmp_path, "labels.csv", LABELS)
    theirs = write(tmp_path, "p.csv", "path,prob\nvideos/c,0.9\nvideos/a,0.1\nvideos/b,0.4\n")
    rows = only(theirs, labels).table.set_index("video")
    assert rows.loc["videos/c", ["label", "score"]].tolist() == [1, 0.9]
    assert rows["label"].to_dict() == {"videos/a": 0, "videos/b": 1, "videos/c": 1}
    assert set(rows["dataset"]) == {"labels"}


def test_a_dfdc_submission_says_label_for_score(tmp_path):
    submission = write(tmp_path, "submission.csv", "filename,label\na.mp4,0.5\nb.mp4,0.01\nc.mp4,0.99\n")
    truth = write(tmp_path, "metadata.json", json.dumps({"a.mp4": {"label": "REAL"}, "b.mp4": {"label": "FAKE"},
                                                         "c.mp4": {"is_fake": 1, "label": "FAKE"}}))  # fmt: skip
    rows = only(submission, truth).table
    assert rows[["label", "score"]].to_numpy().tolist() == [[0, 0.5], [1, 0.01], [1, 0.99]]


def test_what_is_missing_or_unknown_is_counted(tmp_path):
    labels = write(tmp_path, "labels.csv", LABELS)
    imported = only(write(tmp_path, "p.csv", "video,score\na.mp4,0.1\nb.mp4,0.8\nzz.mp4,0.8\n"), labels)
    assert imported.missing["video"].tolist() == ["c.mp4"]
    assert "1 predictions are of unknown videos and left out, e.g. 'zz.mp4'" in imported.notes
    assert any("no column group" in note for note in imported.notes)


def test_frames_in_folders_become_videos(tmp_path):
    rows = "".join(f"/x/DF/frames/{v}/{i:03d}.png,0.{i},1\n" for v in ("v1", "v2") for i in (3, 7))
    imported = only(write(tmp_path, "p.csv", "img_path,score,label\n" + rows))
    assert imported.table["video"].unique().tolist() == ["/x/DF/frames/v1", "/x/DF/frames/v2"]
    assert imported.table["t"].tolist() == [3, 7, 3, 7]


def test_pictures_in_folders_of_classes_stay_pictures(tmp_path):
    rows = "".join(f"set/{c}/{i:03d}.png,0.{i},{int(c == 'fake')}\n" for c in ("real", "fake") for i in (3, 7))
    assert only(write(tmp_path, "p.csv", "img_path,score,label\n" + rows)).table["video"].nunique() == 4


def test_frames_are_joined_with_labels_of_their_videos(tmp_path):
    scores = write(
        tmp_path,
        "p.csv",
        "path,score\n/d/DF/0_3/1.png,0.9\n/d/DF/0_3/2.png,0.7\n/d/R/0_7/1.png,0.1\n/d/R/0_7/2.png,0\n",
    )
    for text in ("video,label\n0_3.mp4,1\n0_7.mp4,0\n", "video,label\n/d/DF/0_3,1\n/d/R/0_7,0\n"):
        imported = only(scores, write(tmp_path, "labels.csv", text))
        assert imported.table[["video", "t", "label"]].to_numpy().tolist() == [
            ["/d/DF/0_3", 1, 1], ["/d/DF/0_3", 2, 1], ["/d/R/0_7", 1, 0], ["/d/R/0_7", 2, 0],
        ]  # fmt: skip
        assert any("4 in 2 folders" in note for note in imported.notes)


def test_a_labelled_picture_without_a_row_is_no_missing_video_where_its_video_has_rows(tmp_path):
    names = [f"{v}/{i:03d}.png" for v in ("v1", "v2", "v3") for i in range(4)]
    labels = "path,label\n" + "".join(f"DF/{name},{int(name[1] == '1')}\n" for name in names)
    scores = "path,score\n" + "".join(f"DF/{name},0.5\n" for name in names[:8:2])
    imported = only(write(tmp_path, "p.csv", scores), write(tmp_path, "labels.csv", labels))
    assert imported.table["video"].unique().tolist() == ["DF/v1", "DF/v2"]
    assert imported.missing["video"].tolist() == ["DF/v3"]


def test_scores_of_several_runs_are_averaged_and_repeated_rows_counted(tmp_path):
    text = "video,t,score,label,run\na,0,0.1,0,0\na,1,0.2,0,0\nb,0,0.9,1,0\na,0,0.3,0,1\na,1,0.4,0,1\nb,0,0.7,1,1\n"
    imported = only(write(tmp_path, "p.csv", text))
    assert imported.table["score"].tolist() == pytest.approx([0.2, 0.3, 0.8])
    assert "scores of 2 runs are averaged: 6 rows became 3" in imported.notes
    assert "run" not in imported.table
    timeless = only(write(tmp_path, "p.csv", "video,score,label,run\na,0.1,0,x\nb,1,1,x\na,0.3,0,y\nb,0.8,1,y\n"))
    assert timeless.table["score"].tolist() == pytest.approx([0.2, 0.9])
    repeated = only(write(tmp_path, "p.csv", "video,t,score,label\na,0,0.1,0\na,0,0.9,0\nb,0,0.7,1\n"))
    assert repeated.table["score"].tolist() == [0.1, 0.7]
    assert "1 rows repeat the video and t of another and are left out" in repeated.notes


def test_parquet_of_names_and_scores_is_enough(tmp_path):
    pd.DataFrame({"path": ["v/a", "v/b"], "prob": [0.1, 0.8]}).to_parquet(tmp_path / "p.parquet")
    rows = only(tmp_path / "p.parquet", write(tmp_path, "labels.csv", LABELS)).table
    assert rows[["label", "score"]].to_numpy().tolist() == [[0, 0.1], [1, 0.8]]
    (tmp_path / "broken.parquet").write_text("no parquet")
    with pytest.raises(DfdError, match="cannot be read"):
        read_all([tmp_path / "broken.parquet"])


def test_empty_cells_are_filled_and_counted(tmp_path):
    text = "video,score,label,method,group,dataset\na,0.1,0,real,p,d\nb,0.8,1,,,\nc,0.7,1,swap,q,d\n"
    imported = only(write(tmp_path, "p.csv", text))
    row = imported.table.set_index("video").loc["b"]
    assert row[["method", "group", "dataset"]].tolist() == ["fake", "b", "p"]
    for name in ("method", "group", "dataset"):
        assert any(note.startswith(f"1 rows have an empty {name}: ") for note in imported.notes)
    evaluation = evaluate(imported.table, Protocol(resamples=20))
    assert set(evaluation.methods) == {"fake", "swap"}


def test_columns_without_a_value_are_none(tmp_path):
    imported = only(write(tmp_path, "p.csv", "video,score,label,t,track\na,0.1,0,,\na,0.2,0,,\nb,0.9,1,,\n"))
    assert imported.table["t"].tolist() == [0, 1, 0]
    assert "track" not in imported.table


def test_a_name_in_several_rows_is_a_video(tmp_path):
    imported = only(write(tmp_path, "p.csv", "video,score,label\na,0.1,0\na,0.1,0\nb,0.9,1\n"))
    assert imported.table["t"].tolist() == [0, 1, 0]
    assert any("they are its frames" in note for note in imported.notes)


def test_other_columns_stay(tmp_path):
    text = "video,score,label,method,group,compression\nu,0.2,real,real,p,c23\nv,0.9,fake,swap,p,c40\n"
    rows = only(write(tmp_path, "p.csv", text)).table
    assert rows["group"].tolist() == ["p", "p"]
    assert rows["compression"].tolist() == ["c23", "c40"]


def results(names=True):
    data = {"acc": 0.5, "pred": np.array([[0.2], [0.9]], np.float32), "label": np.array([0, 1])}
    return data | ({"img_names": ["R/frames/a/0.png", "F/frames/b/0.png"]} if names else {})


def test_deepfakebench_results_and_index(tmp_path):
    (tmp_path / "metric_dict_best.pickle").write_bytes(pickle.dumps(OrderedDict(results())))
    rows = only(tmp_path / "metric_dict_best.pickle").table
    assert rows["label"].tolist() == [1, 0]  # sorted by name
    assert rows["score"].tolist() == pytest.approx([0.9, 0.2])
    (tmp_path / "nameless.pickle").write_bytes(pickle.dumps(results(names=False)))
    assert len(only(tmp_path / "nameless.pickle").table) == 2
    frames = {
        "a": [f"X\\R\\frames\\a\\{i:03d}.png" for i in range(2)],
        "b": [f"X\\F\\frames\\b\\{i:03d}.png" for i in range(2)],
    }
    index = {"Celeb-DF-v2": {"CelebDFv2_real": {"test": {"a": {"label": "r", "frames": frames["a"]}}},
                             "CelebDFv2_fake": {"test": {"b": {"label": "f", "frames": frames["b"]}}}}}  # fmt: skip
    predictions = {"X/R/frames/a": 0.1, "X/F/frames/b": 0.7}
    labels, scores = tmp_path / "Celeb-DF-v2.json", tmp_path / "scores.json"
    labels.write_text(json.dumps(index))
    scores.write_text(json.dumps(predictions))
    rows = only(scores, labels).table
    assert rows[["method", "label", "score"]].to_numpy().tolist() == [["CelebDFv2_fake", 1, 0.7], ["real", 0, 0.1]]


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def test_a_pickle_runs_no_code(tmp_path, capsys):
    path = tmp_path / "evil.pickle"
    path.write_bytes(pickle.dumps({"pred": Evil()}))
    with pytest.raises(DfdError, match=r"asks for builtins\.print: only arrays"):
        read_all([path])
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"p.csv": "video,score\na,0.1\n"}, "p holds no labels: give a second file"),
        ({"p.csv": "a,b\n1,2\n"}, "has no column of names"),
        (
            {"p.csv": "video,score\nq,0.1\n", "l.csv": LABELS},
            "no prediction's name is among the labels: 'q' and 'a.mp4'",
        ),
        ({"p.csv": "video,score,label\na,high,1\n"}, "'high' in column score is not a number"),
        ({"p.csv": "video,score,label\na,0.1,maybe\n"}, "'maybe' is not a label"),
        ({"p.csv": "video,score,label,t\na,0.1,1,\na,0.1,1,2\n"}, "frames and videos are mixed"),
        ({"p.csv": "video,score,label,track\na,0.1,1,\na,0.1,1,2\n"}, "people and whole videos are mixed"),
        ({"p.csv": "video,score,label\n0.mp4,0.1,0\n0.mp4,0.9,1\n"}, "'0.mp4' in 'p': name real and fake videos apart"),
        ({"p.csv": "video,score,label\na,,1\n"}, "1 scores are not finite"),
        ({"l.csv": LABELS}, "no column of scores"),
        ({"l.csv": LABELS, "m.csv": LABELS, "p.csv": "video,score\na,0.1\n"}, "several files hold labels only"),
        ({"p.csv": "video,score\na,0.1\n", "l.csv": "video,label\na,0\na,1\n"}, "'a' has two labels"),
        ({"p.json": "{"}, "cannot be read"),
        ({"p.pkl": "no pickle"}, "is damaged or not a pickle"),
        ({"p.json": '{"pred": [1, 2], "label": [1]}'}, "holds|length|reshape|cannot"),
    ],
)
def test_what_is_wrong_is_one_line(files, message, tmp_path):
    paths = [write(tmp_path, name, text) for name, text in files.items()]
    with pytest.raises(DfdError, match=message) as error:
        read_all(paths)
    assert "\n" not in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(DfdError, match="no predictions at"):
        read_all([tmp_path / "none.csv"])


def test_our_own_tables_are_read_as_they_are(tmp_path):
    from tests.evaluation.tables import table

    table().to_csv(tmp_path / "ours.csv", index=False)
    pd.testing.assert_frame_equal(
        only(tmp_path / "ours.csv").table[["video", "t", "score"]],
        table().sort_values(["video", "t"], ignore_index=True)[["video", "t", "score"]],
    )


@pytest.mark.parametrize("name", ["NA", "null", "None", "nan", "N/A", "-nan", "NULL", "007", "1e5", "True"])
def test_any_text_is_a_name(name, tmp_path):
    imported = only(write(tmp_path, "p.csv", f"video,score,label\n{name},0.1,0\nb,0.8,1\n"))
    assert set(imported.table["video"]) == {name, "b"}
    data = json.dumps({name: 0.1, "b": 0.8})
    labels = write(tmp_path, "labels.json", json.dumps({name: {"label": "REAL"}, "b": {"label": "FAKE"}}))
    assert set(only(write(tmp_path, "p.json", data), labels).table["video"]) == {name, "b"}


def test_no_column_is_made_up_by_joining(tmp_path):
    scores = write(tmp_path, "p.csv", "video,score\na,0.1\nb,0.4\nc,0.9\n")
    table = only(scores, write(tmp_path, "labels.csv", LABELS)).table
    assert set(table.columns) == {"video", "dataset", "method", "group", "label", "t", "score"}
    assert evaluate(table, Protocol(resamples=0)).slices == {}


def test_hard_decisions_are_predictions_beside_labels(tmp_path):
    submission = write(tmp_path, "submission.csv", "filename,label\na.mp4,0\nb.mp4,0\nc.mp4,1\n")
    words = {"a.mp4": {"label": "REAL"}, "b.mp4": {"label": "FAKE"}, "c.mp4": {"label": "FAKE"}}
    truth = write(tmp_path, "metadata.json", json.dumps(words))
    for files in ((submission, truth), (truth, submission)):
        imported = only(*files)
        assert imported.table[["label", "score"]].to_numpy().tolist() == [[0, 0], [1, 0], [1, 1]]
        assert any("submission.csv holds nothing but 0 and 1" in note for note in imported.notes)
    plain = only(submission, write(tmp_path, "labels.csv", LABELS))
    assert plain.table["score"].tolist() == [0, 0, 1]


def test_names_are_matched_one_by_one_and_the_way_is_said(tmp_path):
    labels = write(tmp_path, "labels.csv", "filename,label\na.mp4,0\nb.mp4,1\nc.mp4,1\nd.mp4,0\n")
    scores = write(tmp_path, "p.csv", "filename,score\na.mp4,0.1\nb.avi,0.8\nx/c.mp4,0.7\na.avi,0.9\n")
    imported = only(scores, labels)
    assert imported.table["video"].tolist() == ["a.mp4", "b.avi", "x/c.mp4"]
    assert imported.missing["video"].tolist() == ["d.mp4"]
    words = "names were matched as they are (1), without folders (1), without folders and endings (1)"
    assert words in imported.notes
    assert any("1 predictions are of unknown videos and left out, e.g. 'a.avi'" in n for n in imported.notes)


def test_two_labels_of_one_name_are_not_guessed(tmp_path):
    labels = write(tmp_path, "labels.csv", "path,label\nreal/a.mp4,0\nfake/a.mp4,1\nfake/b.mp4,1\n")
    imported = only(write(tmp_path, "p.csv", "path,score\nreal/a.mp4,0.1\na.mp4,0.5\nb.mp4,0.6\n"), labels)
    assert set(imported.table["video"]) == {"real/a.mp4", "a.mp4", "b.mp4"}  # one a is taken, so the other is meant
    imported = only(write(tmp_path, "q.csv", "path,score\na.mp4,0.5\nb.mp4,0.6\n"), labels)
    assert set(imported.table["video"]) == {"b.mp4"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.csv", "video;score;label\na;0.25;0\nb;0.75;1\n"),
        ("p.csv", "video;score;label\na;0,25;0\nb;0,75;1\n"),
        ("p.csv", "video\tscore\tlabel\na\t0.25\t0\nb\t0.75\t1\n"),
        ("p.tsv", "video\tscore\tlabel\na\t0.25\t0\nb\t0.75\t1\n"),
        ("p.csv", "\ufeffvideo,score,label\r\na,0.25,0\r\nb,0.75,1\r\n"),
        ("p.json", '\ufeff[{"video": "a", "score": 0.25, "label": 0}, {"video": "b", "score": 0.75, "label": 1}]'),
    ],
)
def test_other_separators_and_byte_order_marks(name, text, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    table = only(tmp_path / name).table
    assert table[["video", "score", "label"]].to_numpy().tolist() == [["a", 0.25, 0], ["b", 0.75, 1]]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "video,score,label\n", "has no rows"),
        ("p.json", "[]", "has no rows"),
        ("p.json", '{"a": 0.1, "b": 0.2, "a": 0.9}', "'a' occurs twice in one JSON object"),
        ("p.csv", "video,score,label\na,0.1,0\n,0.8,1\n", "row 2 has no name"),
        ("p.csv", "video,score,label\na,NA,0\nb,0.8,1\n", "'NA' in column score is not a number"),
        ("p.json", '{"a": {"b": 3}}', "neither predictions by name nor"),
    ],
)
def test_what_would_be_lost_in_silence_is_an_error(name, text, message, tmp_path):
    with pytest.raises(DfdError, match=message) as error:
        read_all([write(tmp_path, name, text)])
    assert str(tmp_path / name) in str(error.value)


names_of_files = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\"), min_size=1, max_size=12).filter(
        lambda name: name.strip() == name and name.strip()
    ),
    min_size=2,
    max_size=12,
    unique=True,
)


@given(names_of_files, st.integers(0, 2**31))
def test_random_parquet_and_json_and_csv_come_back_as_they_were(tmp_path_factory, names, seed):
    random, folder = np.random.default_rng(seed), tmp_path_factory.mktemp("files")
    rows = pd.DataFrame({"video": names, "score": random.normal(0, 10, len(names)), "label": np.arange(len(names)) % 2})
    rows.to_parquet(folder / "p.parquet")
    rows.to_csv(folder / "c.csv", index=False)
    (folder / "j.json").write_text(rows.to_json(orient="records", double_precision=15), encoding="utf-8")
    (folder / "d.json").write_text(json.dumps(dict(zip(names, rows["score"], strict=True))), encoding="utf-8")
    for name in ("p.parquet", "c.csv", "j.json"):
        read = read_file(folder / name)
        assert read.rows["video"].tolist() == names, name
        assert read.rows["score"].tolist() == pytest.approx(rows["score"].tolist(), rel=1e-9), name
        assert read.rows["label"].tolist() == rows["label"].tolist(), name
    assert read_file(folder / "d.json").rows["video"].tolist() == names


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), st.sampled_from(["p.csv", "p.json", "p.parquet"]))
def test_random_bytes_are_read_or_refused_in_one_line(tmp_path_factory, content, name):
    path = tmp_path_factory.mktemp("files") / name
    path.write_bytes(content)
    with suppress(DfdError):
        read_all([path])
