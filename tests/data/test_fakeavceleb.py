import csv

import pytest

from dfd.core.errors import DfdError
from dfd.core.manifest import check
from dfd.data.datasets.fakeavceleb import COLUMNS, index, split_people
from dfd.data.sample import spoken


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """The sample's folders and tables, with empty files: an index reads no media."""
    root = tmp_path_factory.mktemp("fakeavceleb")
    for job in spoken.layout(root, 24):
        for clip in job.clips:
            (root / clip.name).parent.mkdir(parents=True, exist_ok=True)
            (root / clip.name).touch()
    return root


def test_the_sample_has_the_official_layout(layout):
    rows = list(csv.reader((layout / "meta_data.csv").open()))
    assert rows[0] == [*COLUMNS, ""]
    assert rows[1][9].startswith("FakeAVCeleb/RealVideo-RealAudio/")
    records = list(index(layout))
    assert check(records) == []
    tested = [record for record in records if record.split == "test"]
    people = {record.group for record in tested}
    for category in spoken.CATEGORIES:
        assert {record.group for record in tested if record.method == category} == people
    assert all(record.original for record in records if record.label == 1)
    assert {record.label for record in records if record.method.startswith("innocent")} == {0}
    assert {record.split for record in records if record.method.startswith("innocent")} == {"test"}
    assert {record.label for record in records if record.split == "train"} == {0, 1}


def test_categories_are_chosen_by_the_names_that_papers_use(layout):
    records = list(index(layout, categories=["RVFA", "FVFA-FS"], innocent=False))
    assert {record.method for record in records} == {"real", "RVFA", "FVFA-FS"}
    with pytest.raises(DfdError, match=r"no XYZ.*FVRA-WL"):
        list(index(layout, categories=["XYZ"]))


def test_a_file_that_is_listed_twice_is_read_once(layout, tmp_path):
    base = tmp_path / "FakeAVCeleb_v1.2"
    place = base / "FakeVideo-FakeAudio/Asian_East/men/id1"
    place.mkdir(parents=True)
    (place / "a.mp4").touch()
    folder = "FakeAVCeleb/FakeVideo-FakeAudio/Asian (East)/men/id1"
    row = ["id1", "-", "-", "fsgan-wav2lip", "D", "FakeVideo-FakeAudio", "Asian (East)", "men", "a.mp4", folder]
    again = [*row[:3], "wav2lip", *row[4:]]
    others = [[f"id{n}", *row[1:8], "a.mp4", folder.replace("id1", f"id{n}")] for n in (2, 3, 4)]
    for other in others:
        (place.parent / other[0]).mkdir()
        (place.parent / other[0] / "a.mp4").touch()
    with (base / "meta_data.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[*COLUMNS, ""], row, again, *others])
    records = list(index(tmp_path))
    assert len(records) == 4
    assert records[0].method == "FVFA-GAN"
    assert "Asian_East" in records[0].path


def test_what_is_missing_and_what_does_not_fit_is_said(tmp_path):
    with pytest.raises(DfdError, match=r"data\.root="):
        list(index(tmp_path))
    (tmp_path / "meta_data.csv").write_text("a,b\n")
    with pytest.raises(DfdError, match="without a name"):
        list(index(tmp_path))


def test_people_are_split_the_same_way_whoever_else_there_is():
    names = [f"id{number}" for number in range(40)]
    splits = split_people(names)
    assert sorted(splits.values()).count("test") == 10
    assert sorted(splits.values()).count("val") == 10
    assert split_people(list(reversed(names))) == splits
    with pytest.raises(DfdError, match="nobody"):
        split_people(names, 0.5, 0.5)


@pytest.mark.slow
def test_a_person_is_filmed_and_the_sound_is_where_the_lips_are(tmp_path):
    import numpy as np

    from dfd.data.audio import read_talk

    job = next(job for job in spoken.layout(tmp_path, 10) if len(job.clips) > 4)
    spoken.render(job, tmp_path, 0)
    real = next(clip for clip in job.clips if clip.kind == "real")
    talk = read_talk(tmp_path / real.name)
    assert talk.frames.shape == (100, 224, 224, 3)
    assert talk.sound.seconds == pytest.approx(4.0, abs=0.1)
    assert np.abs(talk.sound.samples).max() > 0.2
