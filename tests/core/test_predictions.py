import numpy as np
import pandas as pd
import pytest

from dfd.core import predictions
from dfd.core.errors import DfdError


def table(**changes):
    columns = {
        "video": ["b", "a", "a"],
        "dataset": "toy",
        "method": ["Swap", "real", "real"],
        "group": "g",
        "label": [1, 0, 0],
        "t": [0.0, 0.5, 0.0],
        "score": [0.9, 0.2, 0.1],
    }
    return pd.DataFrame(columns | changes)


def test_tidy_sorts_and_drops_padded_rows_without_averaging():
    padded = pd.concat([table(), table().assign(score=5.0)])
    tidied = predictions.tidy(padded)
    assert list(tidied["video"]) == ["a", "a", "b"]
    assert list(tidied["score"]) == [0.1, 0.2, 0.9]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_round_trip(tmp_path, suffix):
    path = tmp_path / f"p.{suffix}"
    if suffix == "csv":
        table().to_csv(path, index=False)
        meta = {}
    else:
        meta = {"model": "meso", "manifest": "abc"}
        predictions.write(table(), path, meta)
    read, facts = predictions.read(path)
    pd.testing.assert_frame_equal(read, predictions.tidy(table()), check_dtype=False)
    assert facts == meta


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": [1, 0, 2]}, r"found \[2\]"),
        ({"label": [1, 1, 0]}, "1 rows contradict the label of others of their video, the first of 'a' in 'toy'"),
        ({"label": [1, 1, 0], "t": [0.0, 0.5, 0.5]}, "contradict the label"),
        ({"score": [0.9, np.nan, 0.1]}, "1 scores are not finite, the first of video 'a'"),
    ],
)
def test_bad_values_are_named(changes, message):
    with pytest.raises(DfdError, match=message):
        predictions.tidy(table(**changes))


def test_missing_columns_are_named():
    with pytest.raises(DfdError, match="missing: score"):
        predictions.tidy(table().drop(columns="score"))
