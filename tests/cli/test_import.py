"""dfd-import: weights of other code become runs."""

import argparse

import pytest
import torch

from dfd.cli.import_weights import main, read_scores
from dfd.core.errors import DfdError
from dfd.models.checkpoint import load_network
from dfd.models.tall import Tall
from dfd.models.tall_weights import to_official


def test_the_original_is_never_written_over(tmp_path, capsys):
    file = tmp_path / "x.ckpt"
    torch.save({"conv.weight": torch.zeros(1)}, file)
    before = file.read_bytes()
    assert main(["tall", str(file), str(file)]) == 2
    assert "would be written over itself" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_kinds_are_listed_and_misspelt_ones_corrected(tmp_path, capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(kind in shown for kind in ("tall", "dfdc", "localisation", "deblur", "sbi"))
    assert main(["tal", str(tmp_path / "x.pth")]) == 2
    assert "tall" in capsys.readouterr().err


def test_without_a_file_the_next_step_is_said(capsys):
    assert main(["tall"]) == 2
    assert "dfd-import KIND FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no file at"),
        ("", "it needs filename and label"),
        ("video,score\na.mp4,0.5\n", "has the columns video, score"),
        ("filename,label\na.mp4,FAKE\n", "line 2: could not convert"),
        ("filename,label\na.mp4\n", "line 2: "),
    ],
)
def test_scores_that_cannot_be_read_are_said(tmp_path, text, message):
    if text is not None:
        (tmp_path / "submission.csv").write_text(text)
    with pytest.raises(DfdError, match=message):
        read_scores(tmp_path / "submission.csv")


@pytest.mark.slow
def test_weights_of_tall(tmp_path, capsys):
    official = to_official(Tall("tiny", pretrained=False))
    torch.save({"model": official, "args": argparse.Namespace(lr=1)}, tmp_path / "official.pth")
    assert main(["tall", str(tmp_path / "official.pth")]) == 0
    assert "run=" in capsys.readouterr().out
    loaded = load_network(tmp_path / "official.ckpt")
    assert torch.equal(loaded.network.state_dict()["head.weight"], official["head.weight"])
    assert loaded.card.crops["size"] > 0


@pytest.mark.slow
def test_another_networks_weights_are_refused(tmp_path, capsys):
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "x.pth")
    assert main(["tall", str(tmp_path / "x.pth")]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert "does not hold a TALL" in shown
    assert not (tmp_path / "x.ckpt").exists()
