"""Proposals to numbers, pages and others' files: both ways, with bad input said."""

import json

import numpy as np
import pandas as pd
import pytest

from dfd.core import segments
from dfd.core.errors import DfdError
from dfd.core.records import Record, Segment
from dfd.evaluation.localisation.decoding import choose, for_test, grid, store, stored_decoding
from dfd.evaluation.localisation.evaluate import SegmentEvaluation, evaluate_segments
from dfd.evaluation.localisation.formats import (
    read_annotations,
    read_proposals,
    same_names,
    write_annotations,
    write_challenge,
    write_results,
)
from dfd.evaluation.localisation.report import SEGMENTS, write_segment_report
from dfd.evaluation.localisation.timeline import Stretch, timeline
from dfd.evaluation.localisation.truth import truth_of
from dfd.evaluation.localisation.versus import compare_proposals
from dfd.metrics.proposals import Decoding


def toy(groups=6):
    """Two fakes and a real file of every person; proposals near the truth, and one false one each."""
    random = np.random.default_rng(0)
    records, rows = [], []
    for person in range(groups):
        for kind in ("video", "audio", "real"):
            name = f"{person}/{kind}"
            stretches = () if kind == "real" else (Segment(1.0, 1.8, kind),)
            records.append(
                Record(name, "toy", "test", int(bool(stretches)), name, str(person), kind, segments=stretches)
            )
            for segment in stretches:
                shift = random.normal(0, 0.05, 2)
                rows.append(("toy", name, segment.start + shift[0], segment.end + shift[1], kind, 0.9))
            rows.append(("toy", name, 2.5, 3.0, "both", 0.2))
    table = pd.DataFrame(rows, columns=list(segments.COLUMNS))
    return segments.tidy(table), truth_of(records, [4.0] * len(records))


def test_numbers_have_intervals_and_survive_json():
    proposals, truth = toy()
    evaluation = evaluate_segments(proposals, truth)
    number = evaluation.protocols["lavdf_closed"]["ap@0.5"]
    assert number.value == 1
    assert number.low < 1
    assert set(evaluation.streams) == {"video", "audio"}
    assert evaluation.files["file AUC"].value == 1
    assert evaluation.ratio == "6 real : 12 fake files"
    assert set(evaluation.subsets) == {"lavdf", "lavdf_closed", "activitynet"}
    again = SegmentEvaluation.from_json(evaluation.to_json())
    assert again.protocols["activitynet"]["ar@10"] == evaluation.protocols["activitynet"]["ar@10"]
    assert again.counts == evaluation.counts


def test_what_is_odd_is_said():
    proposals, truth = toy()
    fewer = proposals[proposals["video"] != "0/real"]
    assert any("no proposal" in note for note in evaluate_segments(fewer, truth).notes)
    late = truth._replace(files=truth.files.assign(duration=1.0))
    assert any("end after their file" in note for note in evaluate_segments(proposals, late).notes)
    with pytest.raises(DfdError, match="not in the truth"):
        evaluate_segments(proposals.assign(video="other"), truth)


def test_activitynet_files_both_ways(tmp_path):
    proposals, truth = toy()
    write_results(proposals, tmp_path / "results.json")
    write_annotations(truth, tmp_path / "truth.json")
    read = read_proposals(tmp_path / "results.json", "toy")
    pd.testing.assert_frame_equal(read, proposals, check_dtype=False)
    known = read_annotations(tmp_path / "truth.json", "toy")
    assert len(known.stretches) == len(truth.stretches)
    one, two = evaluate_segments(read, known), evaluate_segments(proposals, truth)
    assert one.protocols["lavdf"]["ap@0.75"].value == two.protocols["lavdf"]["ap@0.75"].value


def test_files_of_the_challenge_hold_every_file(tmp_path):
    proposals, truth = toy()
    some = proposals[proposals["video"] != "0/real"]
    write_challenge(some, truth, tmp_path / "c.json", suffix=".mp4")
    held = json.loads((tmp_path / "c.json").read_text())
    assert held["0/real.mp4"] == []
    assert [row[0] for row in held["1/video.mp4"]] == [0.9, 0.2]
    assert "0/real.mp4;0.0" in (tmp_path / "c.txt").read_text().splitlines()
    back = same_names(read_proposals(tmp_path / "c.json"), truth)
    assert len(back) == len(some)
    assert set(back["video"]) == set(some["video"])


def test_metadata_of_lavdf_is_a_truth(tmp_path):
    rows = [
        {"file": "test/0.mp4", "split": "test", "duration": 4.0, "fake_periods": [[1, 2]], "modify_video": True,
         "modify_audio": False, "original": "test/1.mp4"},
        {"file": "test/1.mp4", "split": "test", "duration": 4.0, "fake_periods": [], "modify_video": False,
         "modify_audio": False, "original": None},
    ]  # fmt: skip
    (tmp_path / "metadata.min.json").write_text(json.dumps(rows))
    truth = read_annotations(tmp_path / "metadata.min.json", "lavdf")
    assert list(truth.files["group"]) == ["test/1", "test/1"]
    assert truth.stretches.iloc[0][["start", "end", "stream"]].tolist() == [1, 2, "video"]
    (tmp_path / "odd.json").write_text("{}")
    with pytest.raises(DfdError, match="neither"):
        read_annotations(tmp_path / "odd.json")


def test_a_folder_becomes_a_report(tmp_path):
    proposals, truth = toy()
    segments.write(proposals, tmp_path / SEGMENTS, {})
    truth.write(tmp_path)
    (tmp_path / "facts.json").write_text(json.dumps({"model": "m", "dataset": "d", "sample": True}))
    write_segment_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "SAMPLE" in page
    assert page.count("<svg") >= 12
    assert "6 real : 12 fake" in (tmp_path / "report.md").read_text()


def test_decodings_are_chosen_on_validation_only(tmp_path):
    options = {"sigma": [0.25, 0.5], "voting": 0.0, "method": None}
    with pytest.raises(DfdError, match="split=val first"):
        for_test(options, tmp_path)
    best, tried = choose(grid(options, Decoding()), lambda how: how.sigma)
    assert (best.sigma, best.voting, len(tried)) == (0.5, 0.0, 2)
    store(tmp_path, best, tried, {})
    assert stored_decoding(tmp_path) == best
    assert for_test(options, tmp_path) == best
    assert for_test({"sigma": 0.7}, tmp_path).sigma == 0.7
    with pytest.raises(DfdError, match="sigma"):
        grid({"sigmas": 1}, Decoding())


def test_timelines_draw_what_is_true_and_found():
    drawing = timeline(4, [Stretch(1, 2, 0.9, "audio"), Stretch(1.5, 2.5, 0.4)], [Stretch(1, 2)], title="<a>")
    assert drawing.count("<rect") == 3
    assert "&lt;a&gt;" in drawing
    assert "nothing" in timeline(4, [])


def test_two_tables_are_compared_on_the_same_files():
    proposals, truth = toy()
    worse = segments.tidy(proposals.assign(start=proposals["start"] - 0.5))
    verdicts = compare_proposals({"ours": proposals, "worse": worse}, truth)
    assert len(verdicts) == 3
    assert verdicts[2].startswith("AR@10: ours minus worse +")
