"""Segment and delay tables, and inputs as a card keeps them."""

import numpy as np
import pandas as pd
import pytest

from dfd.core import delays, segments
from dfd.core.errors import DfdError
from dfd.core.records import (
    FeatureStream,
    InputSpec,
    PairInput,
    SequenceInput,
    TalkInput,
    input_from_dict,
    input_to_dict,
)

SEGMENTS = pd.DataFrame(
    {
        "dataset": "toy",
        "video": ["b", "a", "a", "b"],
        "start": [1.0, 0.5, 0.0, 1.0],
        "end": [2.0, 0.7, 3.0, 2.0],
        "stream": ["audio", "both", "video", "audio"],
        "score": [0.9, 0.1, 0.4, 0.8],
    }
)


def test_segments_are_keyed_and_come_back(tmp_path):
    segments.write(SEGMENTS, tmp_path / "s.parquet", {"model": "toy"})
    table, meta = segments.read(tmp_path / "s.parquet")
    assert meta == {"model": "toy"}
    assert table[["video", "start", "score"]].values.tolist() == [["a", 0.0, 0.4], ["a", 0.5, 0.1], ["b", 1.0, 0.9]]
    table.to_csv(tmp_path / "s.csv", index=False)
    pd.testing.assert_frame_equal(segments.read(tmp_path / "s.csv")[0], table)
    assert len(segments.tidy(SEGMENTS.iloc[:0])) == 0  # nothing was found in any video


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"end": 0.1}, "segments end before they begin, the first of 'b': 1 to 0.1 s"),
        ({"stream": "text"}, "streams of segments are video, audio, both; found text"),
        ({"score": np.nan}, "4 segments are not finite, the first of video 'b'"),
    ],
)
def test_wrong_segments_are_refused(change, message):
    with pytest.raises(DfdError, match=message):
        segments.tidy(SEGMENTS.assign(**change))
    with pytest.raises(DfdError, match=r"a segment table needs the columns .* missing: stream"):
        segments.tidy(SEGMENTS.drop(columns="stream"))


def test_delays_are_keyed_and_come_back(tmp_path):
    table = pd.DataFrame({"dataset": "toy", "video": ["b", "a", "b"], "t": [0.0, 0.2, 0.0]})
    table[delays.delay_columns(3)] = [[0.2, 0.3, 0.5], [0.1, 0.1, 0.8], [1.0, 0.0, 0.0]]
    delays.write(table, tmp_path / "d.parquet", [-0.04, 0.0, 0.04], {"model": "toy"})
    read, seconds, meta = delays.read(tmp_path / "d.parquet")
    assert meta == {"model": "toy"}
    assert seconds.tolist() == [-0.04, 0.0, 0.04]
    assert read["video"].tolist() == ["a", "b"]
    assert delays.probabilities(read).tolist() == [[0.1, 0.1, 0.8], [0.2, 0.3, 0.5]]
    with pytest.raises(DfdError, match="add up to 1"):
        delays.tidy(table.assign(p0=0.9))
    with pytest.raises(DfdError, match="3 columns of probabilities, but 2 delays"):
        delays.write(table, tmp_path / "d.parquet", [0.0, 1.0], {})


@pytest.mark.parametrize(
    "input",
    [
        InputSpec("clip", 32, frames=4),
        TalkInput(96, frames=5, fps=25.0, stride=5),
        SequenceInput((FeatureStream("tsn", 2048, 3.125), FeatureStream("byol", 2048, 20.0)), length=512, rate=12.5),
        PairInput(64, crops=2),
    ],
)
def test_an_input_comes_back_from_a_card(input):
    assert input_from_dict(input_to_dict(input)) == input


def test_an_input_of_an_unknown_kind_is_refused():
    with pytest.raises(DfdError, match="kind 'smell' is not known here"):
        input_from_dict({"kind": "smell"})
