"""The newer benchmarks over trees of empty files, laid out as they are published or described."""

import json
from collections import Counter
from pathlib import Path

import pytest

from dfd.core.errors import DfdError
from dfd.core.manifest import check
from dfd.data.datasets import (
    celebdfpp,
    deepfake_eval,
    deepspeak,
    df40,
    ffiw,
    idforge,
    kodf,
    polyglotfake,
    screendeepfakebench,
    talkingheadbench,
    uadfv,
)
from dfd.data.datasets.layout import collected_notes


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def by_id(records):
    return {record.id: record for record in records}


def test_celebdfpp_reads_families_methods_and_the_inverted_list(tmp_path):
    swap, talk = "Celeb-synthesis/FaceSwap/SimSwap/id0_id16_0000", "Celeb-synthesis/TalkingFace/FLOAT/id1_0002_test_id9"
    touch(tmp_path, "Celeb-real/id0_0000.mp4", "Celeb-real/id1_0002.mp4", "Celeb-real/id2_0000.mp4",
          "YouTube-real/00170.mp4", f"{swap}.mp4", f"{talk}.mp4")  # fmt: skip
    listed = tmp_path / "List_of_testing_videos.txt"
    listed.write_text(f"1 YouTube-real/00170.mp4\n0 {swap}.mp4\n")
    records = by_id(celebdfpp.index(tmp_path))
    check(list(records.values()), shared_groups="warn")
    assert (records[swap].method, records[swap].donor, records[swap].original) == (
        "SimSwap", "id16", "Celeb-real/id0_0000",
    )  # fmt: skip
    assert (records[talk].method, records[talk].donor, records[talk].original) == (
        "FLOAT", None, "Celeb-real/id1_0002",
    )  # fmt: skip
    assert records[talk].attributes == {"family": "TalkingFace"}
    assert {r.id for r in records.values() if r.split == "test"} == {"YouTube-real/00170", swap}
    listed.write_text("0 YouTube-real/00170.mp4\n")
    with pytest.raises(DfdError, match="1 is real"):
        list(celebdfpp.index(tmp_path))
    listed.write_text("1 YouTube-real/00999.mp4\n")
    with pytest.raises(DfdError, match="1 of 1 test videos are missing"):
        list(celebdfpp.index(tmp_path))
    assert len(list(celebdfpp.index(tmp_path, allow_missing=True))) == 6


def test_uadfv_pairs_by_name(tmp_path):
    touch(tmp_path, "real/0001.mp4", "fake/0001_fake.mp4", "fake/0002_fake.mp4")
    records = by_id(uadfv.index(tmp_path))
    check(list(records.values()))
    assert records["fake/0001_fake"].original == "real/0001"
    assert records["fake/0001_fake"].group == records["real/0001"].group
    assert records["fake/0002_fake"].original is None
    (tmp_path / "real/0001.mp4").unlink()
    with pytest.raises(DfdError, match="no real videos"):
        list(uadfv.index(tmp_path))


def test_ffiw_takes_source_as_real_in_either_nesting(tmp_path):
    touch(tmp_path, "source/train/a.mp4", "target/train/a.mp4", "source/test/videos/b.mp4", "target/val/c.mp4")
    records = list(ffiw.index(tmp_path))
    check(records)
    assert Counter((r.split, r.label) for r in records) == {
        ("train", 0): 1, ("train", 1): 1, ("test", 0): 1, ("val", 1): 1,
    }  # fmt: skip


def test_kodf_goes_by_names_and_keeps_an_actor_in_one_split(tmp_path):
    for actor in range(20):
        touch(tmp_path, f"x/{actor:06d}/{actor:06d}_001.mp4", f"y/z/{actor:06d}_{(actor + 1) % 20:06d}_2_0001.mp4")
    touch(tmp_path, "y/trailer.mp4")
    with collected_notes() as notes:
        records = list(kodf.index(tmp_path))
    assert check(records) == []
    assert {r.split for r in records} == {"train", "val", "test"}
    assert Counter(r.method for r in records) == {"real": 20, "FaceSwap": 20}
    assert by_id(records)["y/z/000003_000004_2_0001"].donor == "000004"
    assert "trailer.mp4" in notes[0]
    with pytest.raises(DfdError, match="nothing to train on"):
        list(kodf.index(tmp_path, 0.5, 0.5))


@pytest.fixture
def spoken(tmp_path):
    (tmp_path / "annotations-split-def.csv").write_text("identity,split\n10,train\n11,test\n12,train\n")
    (tmp_path / "annotations-fake.csv").write_text(
        "video-file,engine,identity-source,identity-target\n"
        "diff2lip-6868-6860-playht.mp4,diff2lip,10,11\nfacefusion--10-12--4100-4897--0.mp4,,,\n"
    )
    touch(tmp_path, "p0/11-0.mp4", "p0/10-1.mp4", "p0/99-1.mp4", "p1/diff2lip-6868-6860-playht.mp4",
          "p1/facefusion--10-12--4100-4897--0.mp4")  # fmt: skip
    return tmp_path


def test_deepspeak_reads_both_releases_by_table_and_name(spoken):
    with collected_notes() as notes:
        records = by_id(deepspeak.index(spoken, val_fraction=0))
    check(list(records.values()))
    second = records["fake/diff2lip-6868-6860-playht"]
    assert (second.split, second.group, second.donor, second.method) == ("test", "11", "10", "diff2lip")
    first = records["fake/facefusion--10-12--4100-4897--0"]
    assert (first.split, first.group, first.donor, first.method) == ("train", "12", "10", "facefusion")
    assert records["real/11-0"].split == "test"
    assert "1 videos show people without a split" in notes[0]
    (spoken / "p1/diff2lip-6868-6860-playht.mp4").unlink()
    with pytest.raises(DfdError, match="1 of 2 listed fakes are missing"):
        list(deepspeak.index(spoken))
    (spoken / "annotations-split-def.csv").write_text("who,split\n")
    with pytest.raises(DfdError, match="columns identity, split"):
        list(deepspeak.index(spoken))


def test_talkingheadbench_groups_by_driver_and_needs_its_reals(tmp_path):
    bench, ffpp = tmp_path / "thb", tmp_path / "ffpp"
    tree = {"Train": {"FaceForensics++": ["001.mp4"]}, "Test": {"CelebV-HQ": ["-abc_0.mp4"]}}
    touch(bench, "real/real_dataset_split_official_ff++.json", "fake/Hallo/train/5--abc_0--Hallo.mp4",
          "fake/Hallo/val/6--zz--Hallo.mp4", "fake/additional_dataset/Hallo3/7-abc_0.mp4")  # fmt: skip
    (bench / "real/real_dataset_split_official_ff++.json").write_text(json.dumps(tree))
    touch(ffpp, "original_sequences/youtube/raw/videos/001.mp4")
    with pytest.raises(DfdError, match=r"data\.index\.ffpp="):
        list(talkingheadbench.index(bench))
    records = by_id(talkingheadbench.index(bench, ffpp=str(ffpp)))
    check(list(records.values()), shared_groups="warn")
    driven = records["Hallo/5--abc_0--Hallo"]
    assert (driven.split, driven.group) == ("test", "-abc_0")  # its driver's split, not its folder's
    assert records["Hallo/6--zz--Hallo"].split == "val"
    assert records["Hallo3/7-abc_0"].split == "test"
    assert records["real/001"].split == "train"


def test_idforge_leaves_out_voices_unless_asked(tmp_path):
    lines = {
        "train": ["pristine/id00/id00_03/a.mp4", "face_tts/id00/id00_03/b.mp4"],
        "val": ["pristine/id01/id01_01/c.mp4"],
        "test": ["lip_tts_textgen/id02/id02_01/d.mp4", "tts_textgen/id02/id02_01/e.mp4"],
    }
    for split, names in lines.items():
        (tmp_path / f"{split}.csv").write_text("\n".join(names))
        touch(tmp_path, *names)
    records = list(idforge.index(tmp_path))
    check(records, shared_groups="warn")
    assert Counter((r.split, r.method) for r in records) == {
        ("train", "real"): 1, ("train", "face_tts"): 1, ("val", "real"): 1, ("test", "lip_tts_textgen"): 1,
    }  # fmt: skip
    assert len(list(idforge.index(tmp_path, voices=True))) == 5
    (tmp_path / lines["val"][0]).unlink()
    with pytest.raises(DfdError, match="1 of 2 real"):
        list(idforge.index(tmp_path))


def test_polyglotfake_keeps_dubs_with_their_source(tmp_path):
    for n in range(20):
        touch(tmp_path, f"real/en/en_{n}.mp4", f"fake/fr/en_{n}_to_fr_xtts.mp4", f"fake/ja/en_{n}_to_ja_bark.mp4")
    records = list(polyglotfake.index(tmp_path))
    assert check(records) == []
    dub = by_id(records)["fake/fr/en_3_to_fr_xtts"]
    assert (dub.original, dub.method, dub.attributes) == ("real/en/en_3", "xtts", {"language": "fr"})
    assert {r.split for r in records} == {"train", "val", "test"}


def test_deepfake_eval_goes_by_its_table(tmp_path):
    table = tmp_path / "video-metadata-publish.csv"
    table.write_text("Filename,Video Ground Truth\na.mp4,Real\nb.mp4,Fake\nc.mp4,Unknown\n")
    touch(tmp_path, "video-data/a.mp4", "video-data/b.mp4")
    with collected_notes() as notes:
        records = by_id(deepfake_eval.index(tmp_path))
    check(list(records.values()))
    assert {name: r.label for name, r in records.items()} == {"a": 0, "b": 1}
    assert "1 videos" in notes[0]
    table.write_text("File,Truth\na.mp4,Real\n")
    with pytest.raises(DfdError, match="columns Filename"):
        list(deepfake_eval.index(tmp_path))


def test_screendeepfakebench_reads_cut_faces_with_their_conditions(tmp_path):
    one, two = "multifactor__rokid-glasses__aoc__natural", "controlled_light__vivo-v21__seewo__dark"
    base = "data/benchmark_inputs"
    touch(tmp_path, f"{base}/{one}/real/00009/frame_000057.jpg", f"{base}/{one}/fake/id1_id2_0003/frame_000001.jpg",
          f"{base}/{two}/real/id1_0003/f.jpg", f"{base}/{two}/fake/id1_id2_0003/f.jpg")  # fmt: skip
    records = by_id(screendeepfakebench.index(tmp_path))
    check(list(records.values()))
    fake = records[f"{one}/fake/id1_id2_0003"]
    assert fake.group == records[f"{two}/real/id1_0003"].group == "id1"
    assert fake.attributes == {"configuration": one, "camera": "rokid-glasses", "screen": "aoc"}
    assert fake.assets == {"crops": f"{base}/{one}/fake/id1_id2_0003"}
    assert {r.attributes["configuration"] for r in screendeepfakebench.index(tmp_path, "controlled")} == {two}


def test_df40_reads_shared_reals_once(tmp_path):
    for method in ("simswap_ff", "blendface_ff"):
        fake = {"001_002": {"label": "x_Fake", "frames": [f"E:\\old\\DF40\\{method}\\001_002\\0.png"]}}
        real = {"003": {"label": "FF-real", "frames": ["/old/DF40/real/003/0.png"]}}
        tree = {method: {"x_Fake": {"test": fake}, "FF-real": {"test": real}}}
        touch(tmp_path, f"dataset_json/{method}.json", f"DF40/{method}/001_002/0.png", "DF40/real/003/0.png")
        (tmp_path / f"dataset_json/{method}.json").write_text(json.dumps(tree))
    records = list(df40.index(tmp_path, ["simswap_ff", "blendface_ff"]))
    check(records, shared_groups="warn")
    assert Counter(r.method for r in records) == {"simswap": 1, "blendface": 1, "real": 1}
    assert {r.attributes["domain"] for r in records} == {"ff"}
    with pytest.raises(DfdError, match="did you mean 'simswap_ff'"):
        list(df40.index(tmp_path, ["simswap_f"]))
