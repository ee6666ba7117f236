"""Datasets with forged stretches, from tiny copies of their official files; their faults are mended and counted."""

import json
import logging
from pathlib import Path

import pytest

from dfd.core.errors import DfdError
from dfd.core.manifest import check
from dfd.core.records import Segment
from dfd.data.datasets import activitynet, avdeepfake1m, lavdf, psynd, stretches, tvil


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def lavdf_row(number: int, split: str = "train", original: str | None = None, **changed) -> dict:
    row = {
        "file": f"{split}/{number:06d}.mp4",
        "n_fakes": 0,
        "fake_periods": [],
        "duration": 4.672,
        "original": original,
    }
    row |= {"modify_video": False, "modify_audio": False, "split": split, "video_frames": 115, "audio_frames": 72704}
    row |= changed
    return row | {"n_fakes": changed.get("n_fakes", len(row["fake_periods"]))}


@pytest.fixture
def lavdf_root(tmp_path):
    rows = [
        lavdf_row(0),
        lavdf_row(1, original="train/000000.mp4", modify_audio=True, fake_periods=[[1.0, 1.5]]),
        lavdf_row(2, original="train/000001.mp4", modify_video=True, fake_periods=[[0.5, 0.9], [2, 2.5]]),
        lavdf_row(0, "dev", modify_audio=True, modify_video=True, fake_periods=[[4.0, 4.672]]),
        lavdf_row(0, "test"),
    ]
    root = tmp_path / "LAV-DF" / "LAV-DF"
    touch(root, *(row["file"] for row in rows))
    (root / "metadata.min.json").write_text(json.dumps(rows))
    return tmp_path


def test_lavdf(lavdf_root):
    records = list(lavdf.index(lavdf_root))
    assert [(r.id, r.split, r.method, r.label) for r in records] == [
        ("train/000000", "train", "real", 0),
        ("train/000001", "train", "audio", 1),
        ("train/000002", "train", "video", 1),
        ("dev/000000", "val", "both", 1),
        ("test/000000", "test", "real", 0),
    ]
    assert records[1].segments == (Segment(1.0, 1.5, "audio"),)
    assert records[2].segments == (Segment(0.5, 0.9, "video"), Segment(2.0, 2.5, "video"))
    assert {r.group for r in records[:3]} == {"train/000000"}  # an original and what was made of what was made of it
    assert records[2].original == "train/000001"
    check(records)


def test_lavdf_without_the_short_metadata_and_its_visual_subset(lavdf_root):
    root = lavdf_root / "LAV-DF" / "LAV-DF"
    (root / "metadata.min.json").rename(root / "metadata.json")
    assert [r.method for r in lavdf.index(lavdf_root, "visual")] == ["real", "video", "both", "real"]
    (root / "metadata.json").unlink()
    with pytest.raises(DfdError, match=r"neither metadata\.min\.json nor metadata\.json"):
        list(lavdf.index(lavdf_root))


def test_lavdf_counts_what_is_wrong(lavdf_root, caplog):
    root = lavdf_root / "LAV-DF" / "LAV-DF"
    rows = json.loads((root / "metadata.min.json").read_text())
    rows[1]["fake_periods"] = [[1.0, 1.5], [1.2, 2.0], [3.0, 3.0], [4.5, 9.0]]
    rows[0]["fake_periods"] = [[1, 2]]
    rows[2]["fake_periods"] = []
    (root / "metadata.min.json").write_text(json.dumps(rows))
    touch(root, "train/999999.mp4")
    with caplog.at_level(logging.WARNING):
        records = list(lavdf.index(lavdf_root))
    for said in (
        "1 x empty stretch",
        "1 x stretch outside the clip",
        "1 x overlapping stretches",
        "1 x real with a stretch",
        "1 x fake without a stretch",
        "1 x file without a row",
        "n_fakes that is not the number",
    ):
        assert said in caplog.text, said
    assert records[0].segments == ()
    assert records[1].segments[-1] == Segment(4.5, 4.672, "audio")
    check(records)


def test_lavdf_with_a_row_without_a_file(lavdf_root):
    (lavdf_root / "LAV-DF" / "LAV-DF" / "dev" / "000000.mp4").unlink()
    with pytest.raises(DfdError, match="missing are 1 of 1 both"):
        list(lavdf.index(lavdf_root))
    assert len(list(lavdf.index(lavdf_root, allow_missing=True))) == 4
    assert len(list(lavdf.index(lavdf_root, videos=False))) == 5


@pytest.fixture
def million(tmp_path):
    def row(person, kind, name, **more):
        file = f"{person}/xyz/00001/{name}.mp4"
        touch(tmp_path, f"train/{file}", f"val/{file}")
        base = {"file": file, "modify_type": kind, "video_frames": 100, "audio_frames": 64000, "fake_segments": []}
        return base | {"audio_fake_segments": [], "visual_fake_segments": []} | more

    people = [f"id{i:05d}" for i in range(6)]
    rows = [row(p, "real", "real") for p in people]
    rows += [
        row(people[0], "audio_modified", "a", fake_segments=[[1, 1.5]], audio_fake_segments=[[1, 1.5]]),
        # a stretch of a stream that is untouched, as 6,160 rows have
        row(people[1], "visual_modified", "v", fake_segments=[[1, 1.5]], visual_fake_segments=[[1, 1.5]],
            audio_fake_segments=[[1, 1.5]]),
        row(people[2], "both-modified", "b", fake_segments=[[1, 1.5], [2, 2.2]], visual_fake_segments=[[1, 1.5]],
            audio_fake_segments=[[1.1, 1.5], [2, 2.2]]),
        row(people[3], "real", "silent", audio_frames=0),
    ]  # fmt: skip
    (tmp_path / "train_metadata.json").write_text(json.dumps(rows, indent=1))
    (tmp_path / "val" / "val_metadata.json").write_text(json.dumps(rows[6:7]))
    return tmp_path


def test_avdeepfake1m(million, caplog):
    with caplog.at_level(logging.WARNING):
        records = {r.id: r for r in avdeepfake1m.index(million, val_fraction=0.2)}
    segments = {r.id.split("/")[-1]: r.segments for r in records.values() if r.label and r.split != "test"}
    assert segments["a"] == (Segment(1, 1.5, "audio"),)
    assert segments["v"] == (Segment(1, 1.5, "video"),)
    assert segments["b"] == (Segment(1, 1.5, "both"), Segment(2, 2.2, "audio"))
    assert "1 x audio stretch where the audio is untouched" in caplog.text
    assert "1 x clip without a sample of sound" in caplog.text
    assert {r.split for r in records.values()} == {"train", "val", "test"}
    assert len({r.group for r in records.values() if r.split == "val"}) == 1
    assert all(r.id.startswith("val/") for r in records.values() if r.split == "test")


def test_people_of_the_larger_set_carry_their_corpus():
    assert avdeepfake1m._person("id00012/x/1/real.mp4") == "id00012"
    assert avdeepfake1m._person("vox_celeb_2/id00012/x/1/real.mp4") == "vox_celeb_2/id00012"


def test_streamed_json_equals_the_whole(tmp_path, monkeypatch):
    rows = [{"a": [1, 2.5, None], "b": "\u00e9]},{", "i": i} for i in range(50)]
    path = tmp_path / "rows.json"
    for chunk in (3, 17, 1 << 20):
        monkeypatch.setattr(stretches, "CHUNK", chunk)
        path.write_text(json.dumps(rows, indent=2))
        assert list(stretches.stream_json(path)) == rows
        path.write_text(json.dumps(rows)[:-9])
        with pytest.raises(DfdError, match="ends in the middle"):
            list(stretches.stream_json(path))
    path.write_text('{"a": 1}')
    with pytest.raises(DfdError, match="does not begin with a list"):
        list(stretches.stream_json(path))


def test_tvil_and_psynd(tmp_path):
    rows = {
        "a": {"file": "5ef_result.mp4", "split": "train", "duration": 3.0, "fake_periods": [[1, 2]], "n_fakes": 1},
        "b": {"file": "5ef.mp4", "split": "train", "duration": 3.0, "fake_periods": [], "n_fakes": 0},
        "c": {"file": "6aa.mp4", "split": "valid", "duration": 3.0, "fake_periods": [], "n_fakes": 0},
        "d": {"file": "7bb.mp4", "split": "test", "duration": 3.0, "fake_periods": [[0.0, 3.0]], "n_fakes": 1},
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "metadata.json").write_text(json.dumps(rows))
    touch(tmp_path, "videos/train/5ef_result.mp4", "videos/train/5ef.mp4", "valid/6aa.mp4", "7bb.mp4")
    records = list(tvil.index(tmp_path))
    assert [(r.id, r.split, r.group) for r in records] == [
        ("train/5ef_result", "train", "5ef"),
        ("train/5ef", "train", "5ef"),
        ("valid/6aa", "val", "6aa"),
        ("test/7bb", "test", "7bb"),
    ]
    assert records[0].segments == (Segment(1.0, 2.0, "video"),)
    check(records)
    spoken = {k: {**row, "file": row["file"].replace("mp4", "wav")} for k, row in rows.items()}
    spoken["e"] = spoken["d"] | {"split": "test_cellular"}
    (tmp_path / "metadatabyola.json").write_text(json.dumps(spoken))
    assert {r.split for r in psynd.index(tmp_path, videos=False)} == {"train", "val", "test"}
    cellular = [r for r in psynd.index(tmp_path, "test_cellular", videos=False) if r.split == "test"]
    assert [r.id for r in cellular] == ["test_cellular/7bb"]
    assert cellular[0].segments[0].stream == "audio"
    with pytest.raises(DfdError, match="has no test set 'test_x', it has test, test_cellular"):
        list(psynd.index(tmp_path, "test_x", videos=False))


def test_activitynet_json(tmp_path):
    note = {"segment": [1.0, 2.0], "label": "audio"}
    database = {
        "p_a": {"subset": "training", "duration": 5.0, "annotations": [note, {"segment": [3, 4], "label": "Fake"}]},
        "q_b": {"subset": "validation", "duration": 5.0, "annotations": []},
        "r_c": {"subset": "Testing", "duration": 5.0, "annotations": [note]},
    }
    (tmp_path / "notes.json").write_text(json.dumps({"database": database}))
    records = list(activitynet.index(tmp_path, "notes.json", videos=False, group="{prefix}"))
    assert [(r.id, r.split, r.label, r.group) for r in records] == [
        ("p_a", "train", 1, "p"),
        ("q_b", "val", 0, "q"),
        ("r_c", "test", 1, "r"),
    ]
    assert records[0].segments == (Segment(1.0, 2.0, "audio"), Segment(3.0, 4.0, "both"))
    (tmp_path / "notes.json").write_text(json.dumps({"database": {"a": {"subset": "trianing"}}}))
    with pytest.raises(DfdError, match="did you mean 'training'"):
        list(activitynet.index(tmp_path, "notes.json", videos=False))
