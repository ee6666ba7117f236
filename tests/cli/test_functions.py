"""The commands as functions: the example of the documentation, on a tiny sample."""

import numpy as np
import pytest

import dfd
from dfd.cli.functions import _text
from tests.cli.conftest import QUICK


def test_values_are_written_in_the_grammar_of_overrides():
    assert [_text(v) for v in (None, True, 0.1, [1, "a"], {"a": 1})] == ["null", "true", "0.1", "[1,a]", "{a:1}"]
    assert _text("/data/it's here") == "'/data/it\\'s here'"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        dfd.trian  # noqa: B018


@pytest.mark.slow
def test_train_evaluate_and_predict_from_python(workplace, tmp_path):
    values = dict(text.split("=") for text in QUICK) | {
        "paths.data_dir": workplace / "data",
        "paths.output_dir": tmp_path / "outputs",
        "name": "mine",
    }
    run = dfd.train("meso", "ffpp", values)
    assert run.folder == tmp_path / "outputs" / "mine"
    assert 0 <= run.value <= 1
    again = dfd.evaluate(run.folder, values={"data.loader.workers": 0, "eval.resamples": 20})
    assert again.metrics["video"]["auc"]["value"] == pytest.approx(again.value)
    (result,) = dfd.predict(run.folder, workplace / "clip.mp4", device="cpu")
    assert result.path == workplace / "clip.mp4"
    assert np.isfinite(result.score)
    assert len(dfd.report([tmp_path / "outputs"])) == 1
