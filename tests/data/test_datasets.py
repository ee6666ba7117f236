"""Every dataset over a tree of empty files in its official layout: splits, labels, pairs, and what is said of gaps."""

import csv
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.core.manifest import check
from dfd.core.records import InputSpec
from dfd.data.datasets import deeperforensics, dfdc, dfdc_preview, ffpp, folder, prepared, wilddeepfake
from dfd.data.datasets.layout import collected_notes
from dfd.data.readers import FrameFolder, open_crops
from dfd.data.views import FaceViews, Visit
from dfd.preprocess.dataset import choose_data_dir, find_source


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def frames(folder: Path, names: list[str], side: int = 24) -> None:
    folder.mkdir(parents=True)
    for value, name in enumerate(names):
        cv2.imwrite(str(folder / name), np.full((side, side, 3), 10 * value, np.uint8))


def splits(records) -> Counter:
    return Counter((record.split, record.label) for record in records)


@pytest.fixture
def dfdc_root(tmp_path):
    for part in (0, 3, 17):
        name = f"dfdc_train_part_{part:02d}"
        real, fake = f"real{part:06d}.mp4", f"fake{part:06d}.mp4"
        told = {real: {"label": "REAL", "split": "train"}}
        told[fake] = {"label": "FAKE", "split": "train", "original": real}
        touch(tmp_path, f"{name}/{real}", f"{name}/{fake}")
        (tmp_path / name / "metadata.json").write_text(json.dumps(told))
    touch(tmp_path, "test/aaaaaaaaaa.mp4", "test/bbbbbbbbbb.mp4")
    (tmp_path / "test/labels.csv").write_text("filename,label\naaaaaaaaaa.mp4,1\nbbbbbbbbbb.mp4,0\n")
    return tmp_path


def test_dfdc_splits_by_part_and_pairs_by_metadata(dfdc_root):
    records = list(dfdc.index(dfdc_root))
    assert check(records) == []
    assert splits(records) == {
        ("train", 0): 2,
        ("train", 1): 2,
        ("val", 0): 1,
        ("val", 1): 1,
        ("test", 0): 1,
        ("test", 1): 1,
    }
    fake = next(record for record in records if record.id == "dfdc_train_part_00/fake000000")
    assert (fake.original, fake.group, fake.split) == ("dfdc_train_part_00/real000000", "real000000", "val")
    parts = list(dfdc.index(dfdc_root, val_parts=[3], test_parts=[17]))
    assert {(r.split, r.group) for r in parts} == {
        ("train", "real000000"),
        ("val", "real000003"),
        ("test", "real000017"),
    }


def test_dfdc_that_is_not_whole_says_so(dfdc_root):
    with pytest.raises(DfdError, match=r"has 0, 3, 17, none of val_parts=\[5\]"):
        list(dfdc.index(dfdc_root, val_parts=[5]))
    (dfdc_root / "dfdc_train_part_17/fake000017.mp4").unlink()
    with pytest.raises(DfdError, match="missing are 1 of 4 fake"):
        list(dfdc.index(dfdc_root))
    assert len(list(dfdc.index(dfdc_root, allow_missing=True))) == 7
    (dfdc_root / "dfdc_train_part_17/metadata.json").write_text("{")
    with pytest.raises(DfdError, match=r"metadata\.json is damaged"):
        list(dfdc.index(dfdc_root))


def test_dfdc_preview(tmp_path):
    told = {}
    for person in range(10):
        real = f"original_videos/{person}/{person}_A_001.mp4"
        fake = f"method_A/{person}/{person}_C/9_{person}_C_1.mp4"
        where = "test" if person > 7 else "train"
        told[real] = {"label": "real", "set": where, "target_id": person}
        told[fake] = {
            "label": "fake",
            "set": where,
            "target_id": person,
            "swapped_id": 9,
            "source_video": Path(real).stem,
        }
    touch(tmp_path, *told)
    (tmp_path / "dataset.json").write_text(json.dumps(told))
    records = list(dfdc_preview.index(tmp_path, val_fraction=0.25))
    assert check(records) == []
    assert splits(records) == {(s, label): n for s, n in (("train", 6), ("val", 2), ("test", 2)) for label in (0, 1)}
    fake = next(record for record in records if record.label)
    assert (fake.method, fake.original) == ("method_A", "original_videos/0/0_A_001")


def test_deeperforensics_takes_its_reals_from_ffpp(tmp_path):
    root, ffpp_root = tmp_path / "deeper", tmp_path / "ffpp"
    for split, names in {"train": ["480_W133", "480_M002"], "val": ["001_W133"], "test": ["002_M002"]}.items():
        (root / "lists/splits").mkdir(parents=True, exist_ok=True)
        (root / f"lists/splits/{split}.txt").write_text("".join(f"{name}.mp4\n" for name in names))
        touch(root, *(f"manipulated_videos/end_to_end/{name}.mp4" for name in names))
    with pytest.raises(DfdError, match=r"data\.index\.reals="):
        list(deeperforensics.index(root))
    touch(ffpp_root, *(f"original_sequences/youtube/c23/videos/{n}.mp4" for n in ("480", "001", "002")))
    records = list(deeperforensics.index(root, reals=str(ffpp_root)))
    assert check(records) == []
    assert splits(records) == {
        ("train", 0): 1,
        ("train", 1): 2,
        ("val", 0): 1,
        ("val", 1): 1,
        ("test", 0): 1,
        ("test", 1): 1,
    }
    assert {r.original for r in records if r.label} == {"real/480", "real/001", "real/002"}
    with pytest.raises(DfdError, match=r"no reenact in .*there are end_to_end"):
        list(deeperforensics.index(root, reals=str(ffpp_root), variants=["reenact"]))


def test_wilddeepfake_is_read_as_it_is(tmp_path):
    for name in wilddeepfake.FOLDERS:
        for video in range(4):
            frames(tmp_path / name / str(video) / name.split("_")[0] / "0", ["7.png", "12.png", "100.png"])
    records = list(wilddeepfake.index(tmp_path, val_fraction=0.25))
    assert check(records) == []
    assert splits(records) == {(s, label): n for s, n in (("train", 3), ("val", 1), ("test", 4)) for label in (0, 1)}
    with open_crops(tmp_path, records[0].assets) as crops:
        assert crops.table["frame"].tolist() == [7, 12, 100]
        assert [image[0, 0, 0] for image in crops.read([2, 0])] == [20, 0]
    views = FaceViews(records, tmp_path, InputSpec("image", 16), 3)[Visit(0)]
    assert views["pixels"].shape == (3, 3, 16, 16)


def test_deepfakedetection_is_all_test(tmp_path):
    touch(tmp_path, "original_sequences/actors/c23/videos/24__outside.mp4")
    touch(tmp_path, "manipulated_sequences/DeepFakeDetection/c23/videos/24_23__outside__YR5OVD4S.mp4")
    real, fake = ffpp.index_actors(tmp_path)
    assert (real.split, fake.split, fake.original, fake.group) == ("test", "test", real.id, "24")
    touch(tmp_path, "manipulated_sequences/DeepFakeDetection/c23/videos/11_23__inside__YR5OVD4S.mp4")
    with pytest.raises(DfdError, match=r"lacks 11__inside\.mp4"):
        list(ffpp.index_actors(tmp_path))


def test_any_folder_of_reals_and_fakes(tmp_path):
    touch(tmp_path, *(f"real/{who}_{n}.mp4" for who in "abcdefghij" for n in range(2)), "real/notes.txt")
    touch(tmp_path, *(f"fake/roop/{who}_0.png" for who in "abcdefghij"))
    records = list(folder.index(tmp_path, 0.2, 0.3, group_by="_"))
    assert check(records) == []
    assert splits(records) == {(s, y): n * (2 - y) for s, n in (("train", 6), ("val", 1), ("test", 3)) for y in (0, 1)}
    assert {record.method for record in records} == {"real", "roop"}
    again = list(folder.index(tmp_path, 0.5, 0.3, group_by="_"))
    tested = [{r.id for r in some if r.split == "test"} for some in (records, again)]
    assert tested[0] == tested[1]  # another share of validation leaves the test set alone
    with pytest.raises(DfdError, match=r"must hold real/ and fake/"):
        list(folder.index(tmp_path / "real"))


def test_a_folder_may_have_its_own_splits(tmp_path):
    touch(tmp_path, "train/real/x.mp4", "train/fake/x.mp4", "test/real/y.mp4", "test/fake/y.mp4")
    assert splits(folder.index(tmp_path)) == {("train", 0): 1, ("train", 1): 1, ("test", 0): 1, ("test", 1): 1}


def test_a_table_of_paths_and_labels(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    path = tmp_path / "mine.csv"
    path.write_text("path,label,split,group,method\na.mp4,real,train,anna,\nb.mp4,1,test,bert,roop\n")
    first, second = folder.from_csv(path)
    assert (first.label, first.split, first.group, first.method, first.path) == (
        0,
        "train",
        "anna",
        "real",
        str(tmp_path / "a.mp4"),
    )
    assert (second.label, second.method) == (1, "roop")
    path.write_text("path,label\na.mp4,real\nb.mp4,1\n", encoding="utf-8-sig")  # as Excel saves it
    assert [record.label for record in folder.from_csv(path)] == [0, 1]
    for text, message in (
        ("path,label\na.mp4,0\nb.mp4\n", r"mine\.csv:3: this row has more or fewer values"),
        ("path,label\na.mp4,0,train\n", r"mine\.csv:2: this row has more or fewer values"),
        ("path,lable\na.mp4,0\n", r"not 'lable' .did you mean 'label'"),
        ("path,label\na.mp4,maybe\n", "a.mp4 has label 'maybe'"),
        ("path,label\nc.mp4,0\n", "missing are 1 of 1 real"),
    ):
        path.write_text(text)
        with pytest.raises(DfdError, match=message):
            list(folder.from_csv(path))


def test_a_table_is_a_file(tmp_path):
    with pytest.raises(DfdError, match="is a folder: data=csv takes a CSV file"):
        list(folder.from_csv(tmp_path))


def test_deepfakebench_json_with_another_machines_paths(tmp_path):
    frames(tmp_path / "FaceForensics++/original_sequences/youtube/c23/frames/071", ["009.png", "000.png", "018.png"])
    frames(tmp_path / "FaceForensics++/manipulated_sequences/Deepfakes/c23/frames/071_054", ["000.png"])

    def told(label, *names):
        return {"c23": {Path(names[0]).parent.name: {"label": label, "frames": list(names)}}}

    real = r"D:\data\rgb\FaceForensics++\original_sequences\youtube\c23\frames\071".replace("\\", "/")
    fake = "/home/them/FaceForensics++/manipulated_sequences/Deepfakes/c23/frames/071_054/000.png"
    tree = {"FF-real": {"test": told("FF-real", f"{real}/009.png", f"{real}/000.png", f"{real}/018.png")}}
    tree["FF-DF"] = {"test": told("FF-DF", fake)}
    path = tmp_path / "FaceForensics++.json"
    path.write_text(json.dumps({"FaceForensics++": tree}).replace("D:/data/rgb/", "D:\\\\data\\\\rgb\\\\"))
    records = list(prepared.deepfakebench(tmp_path, str(path)))
    assert [(r.split, r.label, r.method) for r in records] == [("test", 0, "real"), ("test", 1, "FF-DF")]
    with open_crops(tmp_path, records[0].assets) as crops:
        assert crops.table["frame"].tolist() == [0, 9, 18]
    consecutive = next(prepared.deepfakebench(tmp_path, str(path), consecutive=True))
    with open_crops(tmp_path, consecutive.assets) as crops:
        assert crops.table["frame"].tolist() == [0, 1, 2]
    with pytest.raises(DfdError, match="this JSON has c23"):
        list(prepared.deepfakebench(tmp_path, str(path), compression="c40"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DfdError, match="2 have no frames below"):
        list(prepared.deepfakebench(tmp_path / "empty", str(path)))


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (["clip2_0007.png", "clip2_0008.png"], [(7, 0), (8, 0)]),
        (["0001.png", "0002.png"], [(1, 0), (2, 0)]),
        (["70_0.png", "70_1.png"], [(70, 0), (70, 1)]),
        (["frame-3.png", "frame-12.png"], [(3, 0), (12, 0)]),
        (["a.png", "b.png"], [(0, 0), (1, 0)]),
    ],
)
def test_frames_are_numbered_by_their_names(tmp_path, names, rows):
    frames(tmp_path / "clip", names)
    table = FrameFolder(tmp_path / "clip").table
    assert list(zip(table["frame"].tolist(), table["track"].tolist(), strict=True)) == rows


def test_tall_lists(tmp_path):
    frames(tmp_path / "original_faces_c23/928", [f"{i:04d}.jpg" for i in range(1, 9)])
    frames(tmp_path / "Deepfakes_faces_c23/928_001", [f"{i:04d}.jpg" for i in range(1, 9)])
    (tmp_path / "test.txt").write_text("original_faces_c23/928 1 8 0\nDeepfakes_faces_c23/928_001 1 8 1\n")
    records = list(prepared.tall(tmp_path, {"test": "test.txt"}))
    assert [(r.label, r.group) for r in records] == [(0, "001_928"), (1, "001_928")]
    clip = FaceViews(records, tmp_path, InputSpec("clip", 16, 4, 1, 2), 2)[Visit(1)]
    assert clip["pixels"].shape == (2, 4, 3, 16, 16)
    (tmp_path / "test.txt").write_text("original_faces_c23/928 1 8\n")
    with pytest.raises(DfdError, match=r"test\.txt:1: .* does not fit"):
        list(prepared.tall(tmp_path, {"test": "test.txt"}))


def test_the_winners_crops(tmp_path):
    with (tmp_path / "folds.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("video", "file", "label", "original", "frame", "fold"))
        for video, label, fold in (("aaaa", 0, 0), ("bbbb", 1, 0), ("cccc", 0, 7)):
            frames(tmp_path / "crops" / video, ["0_0.png", "10_0.png", "0_1.png"])
            rows.writerows((video, f"{f}_0.png", label, "aaaa" if label else video, f, fold) for f in (0, 10))
    records = list(prepared.winner(tmp_path))
    assert [(r.id, r.split, r.original) for r in records] == [
        ("aaaa", "val", None),
        ("bbbb", "val", "aaaa"),
        ("cccc", "train", None),
    ]
    with open_crops(tmp_path, records[1].assets) as crops:
        assert list(zip(crops.table["track"], crops.table["frame"], strict=True)) == [(0, 0), (0, 10), (1, 0)]


def test_a_folder_without_group_by_says_that_groups_are_files_and_what_the_names_suggest(tmp_path):
    touch(tmp_path, *(f"{kind}/{who}_{n}.mp4" for kind in ("real", "fake") for who in "abcdefghij" for n in (0, 1)))
    with collected_notes() as notes:
        list(folder.index(tmp_path))
    assert "groups are files, not people" in notes[0]
    assert "suggest 10 sources: data.index.group_by=_" in notes[0]
    with collected_notes() as notes:
        list(folder.index(tmp_path, group_by="_"))
    assert notes == []


def test_carved_splits_hold_both_classes_in_the_same_shares(tmp_path):
    touch(tmp_path, *(f"real/r{n}.mp4" for n in range(20)), *(f"fake/f{n}.mp4" for n in range(100)))
    found = splits(folder.index(tmp_path, 0.1, 0.2))
    assert found["test", 0] == 4
    assert found["test", 1] == 20
    assert found["val", 0] == 2
    assert found["val", 1] == 8


def test_a_split_without_a_class_is_refused_with_what_to_do(tmp_path):
    touch(tmp_path, "real/r0.mp4", *(f"fake/f{n}.mp4" for n in range(10)))
    with pytest.raises(DfdError, match=r"the train split would hold 7 fake and no real videos: add real ones"):
        list(folder.index(tmp_path))


def test_what_is_missing_is_counted_where_it_is_allowed(tmp_path):
    touch(tmp_path, "a.mp4")
    path = tmp_path / "mine.csv"
    path.write_text("path,label,split,group\na.mp4,0,test,a\nb.mp4,1,test,b\nc.mp4,1,test,c\n")
    with collected_notes() as notes:
        assert len(list(folder.from_csv(path, allow_missing=True))) == 1
    assert notes == ["the table is not complete: 2 of 3 files are missing (2 of 2 fake)"]


def test_a_dataset_is_looked_for_where_its_crops_are(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    data = {"name": "celebdf", "variant": "", "title": "Celeb-DF"}
    assert choose_data_dir(data, [here, there]) == here
    touch(there / "celebdf", "List_of_testing_videos.txt")
    assert choose_data_dir(data, [here, there]) == there
    touch(find_source(data, here).processed, "0123abcd/manifest.parquet")
    assert choose_data_dir(data, [here, there]) == here
    assert choose_data_dir({"name": "nowhere", "title": "nowhere"}, [here, there]) == here
