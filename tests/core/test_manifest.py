from dataclasses import replace

import pytest

from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest, check, leaking_groups
from dfd.core.records import Record, Segment
from dfd.core.tables import read_parquet, write_parquet


def record(id="a", split="train", label=0, group="g", **more):
    return Record(id=id, dataset="toy", split=split, label=label, path=f"/data/{id}.mp4", group=group, **more)


def test_round_trip_keeps_every_field(tmp_path):
    spliced = (Segment(0.5, 1.5, "audio"),)
    records = (
        record("real/a", fps=25.0, frames=50, assets={"crops": "crops/a.zip"}),
        record("fake/a", label=1, method="Swap", original="real/a", fps=25.0, frames=50, segments=spliced),
    )
    Manifest(records, tmp_path).write(tmp_path / "manifest.parquet")
    read = Manifest.read(tmp_path / "manifest.parquet")
    assert read.records == records
    assert read.hash == Manifest(records).hash


def test_hash_follows_content_and_not_the_place_on_disk():
    a, b = record("a"), record("b", label=1)
    moved = Record(**{**a.__dict__, "path": "/elsewhere/a.mp4"})
    assert Manifest((a, b)).hash == Manifest((b, moved)).hash
    assert Manifest((a, b)).hash != Manifest((a, record("b", label=0))).hash


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([record(), record()], "occurs twice"),
        ([record(label=2)], "labels are 0 .real. or 1"),
        ([record(split="dev")], "splits are train, val, test"),
        ([record("a"), record("b", split="test")], "more than one split.*train and test"),
        ([record(fps=25.0, frames=50, segments=(Segment(1.0, 3.0),))], "outside its 2.00 s"),
    ],
)
def test_check_names_the_fault(records, message):
    with pytest.raises(DfdError, match=message):
        check(records)


def test_a_known_leak_is_a_warning_with_its_count():
    records = [record("a"), record("b", split="test"), record("c", group="h")]
    assert leaking_groups(records) == {"g": ("train", "test")}
    (warning,) = check(records, shared_groups="warn")
    assert "1 group(s)" in warning


def test_an_empty_split_says_what_there_is():
    with pytest.raises(DfdError, match=r"'val' is empty.*'train': 1"):
        Manifest((record(),)).split("val")


def test_a_missing_manifest_names_the_next_step(tmp_path):
    with pytest.raises(DfdError, match=r"run preprocess\.py"):
        Manifest.read(tmp_path / "manifest.parquet")


def test_a_manifest_of_the_first_format_is_read(tmp_path):
    """Before format 2 a segment was a pair, and the file named no format."""
    path = tmp_path / "manifest.parquet"
    Manifest((record("a", segments=(Segment(0.5, 1.5, "audio"),)),), tmp_path).write(path)
    table, meta = read_parquet(path)
    assert meta == {"format": "2"}
    table["segments"] = "[[0.5, 1.5]]"
    table.drop(columns="attributes").to_parquet(path)
    (read,) = Manifest.read(path).records
    assert read.segments == (Segment(0.5, 1.5, "both"),)
    write_parquet(table, path, {"format": 3})
    with pytest.raises(DfdError, match=r"newer dfd \(manifest format 3, here 2\): update dfd"):
        Manifest.read(path)


def test_a_donor_is_kept_and_one_that_is_unknown_changes_no_hash(tmp_path):
    plain = Record("a", "toy", "test", 1, "a.mp4", "id1")
    donated = replace(plain, donor="id2")
    assert Manifest((plain,)).hash != Manifest((donated,)).hash
    Manifest((donated, replace(plain, id="b"))).write(tmp_path / "m.parquet")
    assert [record.donor for record in Manifest.read(tmp_path / "m.parquet").records] == ["id2", None]
