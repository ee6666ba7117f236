"""A stopped command goes on where it was; names stay names for terminals and spreadsheets; no verdict is lost."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfd.core.errors import DfdError
from dfd.core.text import csv_cell, printable
from dfd.inference.journal import Journal, judged_in_order, writable_folder
from dfd.inference.results import write_results
from dfd.inference.verdict import FileResult, Judging, ViewScores, judge_file

ASKED = {"run": "outputs/demo", "threshold": None}


NAMES = ("a.png", "b.png", os.fsdecode(b"caf\xe9.png"), "d.png")


def files(folder: Path) -> list[Path]:
    for name in NAMES:
        (folder / name).write_bytes(os.fsencode(name))
    return [folder / name for name in NAMES]


def judge(paths):
    for path in paths:
        score = np.array([len(path.name) / 10, 0.25])
        yield judge_file(path, [ViewScores(np.arange(2.0), score, np.zeros(2, int))], Judging())


def test_what_was_judged_is_not_judged_again(tmp_path):
    inputs, asked, out = files(tmp_path), [], tmp_path / "out"

    def stopped(paths):
        for number, result in enumerate(judge(paths)):
            if number == 2:
                raise KeyboardInterrupt
            yield result

    def counted(paths):
        asked.extend(paths)
        return judge(paths)

    with pytest.raises(KeyboardInterrupt):
        list(judged_in_order(inputs, Journal(out, ASKED, FileResult), stopped))
    with (out / "unfinished.jsonl").open("a") as file:
        file.write('{"key": "cut')  # as a kill leaves it
    journal = Journal.continued([out], ASKED, FileResult)
    assert journal is not None
    resumed = list(judged_in_order(inputs, journal, counted))
    assert asked == inputs[2:]
    plain = write_results(list(judge(inputs)), tmp_path / "plain")
    again = write_results(resumed, tmp_path / "again")
    pd.testing.assert_frame_equal(plain, again)
    for name in ("verdicts.csv", "predictions.csv", "submission.csv"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    journal.finish()
    assert Journal.continued([out], ASKED, FileResult) is None


def test_a_changed_file_or_question_is_asked_again(tmp_path):
    inputs = files(tmp_path)
    list(judged_in_order(inputs, Journal(tmp_path / "out", ASKED, FileResult), judge))
    inputs[1].write_bytes(b"changed")
    journal = Journal(tmp_path / "out", ASKED, FileResult)
    assert journal.result(inputs[0]) is not None
    assert journal.result(inputs[1]) is None
    assert not Journal(tmp_path / "out", {**ASKED, "threshold": 0.7}, FileResult).known


def test_a_journal_that_cannot_be_written_costs_no_verdict(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    journal = Journal(tmp_path / "file" / "out", ASKED, FileResult)
    assert len(list(judged_in_order(files(tmp_path), journal, judge))) == 4
    assert journal.lost


def test_tables_go_where_there_is_room(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert writable_folder(tmp_path / "file" / "out", [tmp_path / "other"]) == tmp_path / "other"
    with pytest.raises(DfdError, match="the tables are lost"):
        writable_folder(tmp_path / "file" / "out", [tmp_path / "file"])


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(name):
    assert csv_cell(name)[0] in "'\\"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("red\x1b[31m", r"red\x1b[31m"),
        ("bell\x07\x00", r"bell\x07\x00"),
        ("two\nlines", r"two\x0alines"),
        ("right\u202eto", r"right\u202eto"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("naïve 漢字 😀", "naïve 漢字 😀"),
    ],
)
def test_a_terminal_obeys_no_name(name, shown):
    assert printable(name) == shown
    printable(name).encode()
