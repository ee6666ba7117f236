"""Tables of others, however damaged, end in a table or in one line with the reason; nothing in them runs."""

import re

import pytest

from dfd.cli.report import main
from tests.hostile.reports import GOOD, hostile_reports

FILES = dict(hostile_reports())


def test_a_good_table_is_evaluated(tmp_path, capsys):
    (tmp_path / "good.csv").write_text(GOOD)
    assert main([str(tmp_path / "good.csv")]) == 0
    assert "1.000" in capsys.readouterr().out


@pytest.mark.parametrize("name", FILES)
def test_every_other_one_has_an_answer(name, tmp_path, capsys):
    (tmp_path / name).write_bytes(FILES[name])
    status = main([str(tmp_path / name), "--output", str(tmp_path / "page")])
    shown = capsys.readouterr()
    assert status in (0, 2), shown.err
    if status == 2:
        line = shown.err.strip().splitlines()[-1]
        assert line.startswith("error: ")
        assert len(line) < 600
    assert "\x1b]" not in shown.out + shown.err
    assert "never be printed" not in shown.out
    for page in tmp_path.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<script>alert|<img src=x", text)
    for written in tmp_path.rglob("page/**/*.csv"):
        assert not re.search(r"(^|[,\n])[=@]", written.read_text(encoding="utf-8"))


def test_there_are_enough_of_them():
    assert len(FILES) >= 30
