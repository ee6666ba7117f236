"""What comes after the crops: masks, landmarks, folds, leakage, the doctor, shares of a dataset."""

import csv
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.records import InputSpec, Record
from dfd.data.align import TEMPLATE, show, similarity, template
from dfd.data.crops import CROP_BOX, FACE_BOX, CropReader, write_container, write_crops
from dfd.data.datasets import ffpp
from dfd.data.views import FaceViews, Showing, Visit
from dfd.preprocess.crop import CropOptions
from dfd.preprocess.doctor import compare, examine, examine_part, problems
from dfd.preprocess.folds import fold, write_folds
from dfd.preprocess.leakage import leaks, perceptual_hash
from dfd.preprocess.masks import difference, swapped
from dfd.preprocess.pipeline import collect, in_shard, prepare
from dfd.preprocess.runner import Engine
from dfd.preprocess.stages import REGISTRY, Stage, plan, register, run_stage
from dfd.preprocess.summary import tracks
from tests.conftest import noise_crops

ENGINE = Engine(workers=0)


@pytest.fixture(scope="module")
def made(tiny_ffpp, tmp_path_factory):
    """The crops of one pair of FaceForensics++, with masks and landmarks."""
    folder = tmp_path_factory.mktemp("made")
    records = [record for record in ffpp.index(tiny_ffpp) if record.group == "000_001"]
    manifest, _ = prepare(records, folder / "crops", CropOptions(groups=2, length=2, detections=2), ENGINE)
    for name in ("masks", "landmarks"):
        assert run_stage(REGISTRY[name], manifest, ENGINE) == []
    return collect(records, folder / "crops", [])[0]


def test_masks_lie_where_the_forgery_is(made):
    for record in made.records:
        assert ("masks" in record.assets) == (record.label == 1)
        if record.label == 0:
            continue
        with CropReader(made.folder / record.assets["masks"]) as masks:
            assert masks.facts["kind"] == "ssim"
            assert masks.facts["swapped"] == [0]
            mask = masks.read([0])[0][..., 0].astype(float)
        side = len(mask)
        inner = mask[side // 4 : -side // 4, side // 4 : -side // 4].mean()
        border = np.concatenate([mask[:5].ravel(), mask[-5:].ravel()]).mean()
        assert inner > 2 * border, record.id


def test_differences_are_clipped_and_not_wrapped_round():
    checks = (np.indices((32, 32)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    assert difference(checks, checks).max() == 0
    assert difference(checks, 255 - checks).min() > 250  # SSIM is -1 here: 2 x 255 would have wrapped to 254 or less
    assert difference(checks, 255 - checks).dtype == np.uint8


def test_ssim_agrees_with_its_definition():
    random = np.random.default_rng(0)
    a, b = (random.integers(0, 255, (15, 15, 3), np.uint8) for _ in range(2))
    x, y = (image[4:11, 4:11].reshape(49, 3).astype(float) for image in (a, b))
    c1, c2 = 2.55**2, 7.65**2
    both = ((x - x.mean(0)) * (y - y.mean(0))).sum(0) / 48
    ssim = (2 * x.mean(0) * y.mean(0) + c1) * (2 * both + c2)
    ssim /= (x.mean(0) ** 2 + y.mean(0) ** 2 + c1) * (x.var(0, ddof=1) + y.var(0, ddof=1) + c2)
    assert difference(a, b)[7, 7] == pytest.approx(min(255, 255 * (1 - ssim.mean())), abs=1)


def test_a_face_that_was_not_swapped_is_repaired(noise, tmp_path):
    """Two faces, the second untouched: it is dropped or called real, as the user wishes."""
    crops = noise_crops(1, 1)
    table = {name: np.concatenate([column, column]) for name, column in crops.table.items()}
    table["track"] = np.repeat([0, 1], 8)
    images = dict(crops.images) | {row + 8: np.zeros((48, 48, 3), np.uint8) for row in range(8)}
    write_crops(tmp_path / "fake.zip", type(crops)(table, images))
    assert swapped({0: np.full((9, 9), 200, np.uint8)}, np.array([True]))
    assert not swapped({0: np.full((9, 9), 20, np.uint8)}, np.array([True]))
    from dfd.data.crops import write_container

    write_container(tmp_path / "masks.zip", table, [], facts={"swapped": [0]})
    assets = {"crops": "fake.zip", "masks": "masks.zip"}
    record = Record("fake", "noise", "train", 1, "fake.mp4", "g", "square", assets=assets)

    def seen(repair):
        views = FaceViews([record], tmp_path, InputSpec("image", 48), 1, showing=Showing(actors="any", repair=repair))
        items = [views[Visit(0, seed)] for seed in range(12)]
        return {(item["label"], bool(item["pixels"].any())) for item in items}

    assert seen("none") == {(1, True), (1, False)}
    assert seen("drop") == {(1, True)}
    assert seen("relabel") == {(1, True), (0, False)}
    main = FaceViews([record], tmp_path, InputSpec("image", 48), 8)[Visit(0)]["pixels"]
    assert main.reshape(8, -1).any(1).all()  # evaluation shows the main face only


def test_masks_of_a_fake_of_another_size_or_shape(made, tmp_path):
    fake = next(record for record in made.records if record.label)
    original = next(record for record in made.records if record.id == fake.original)
    masks = {}
    for name, size, facts in (("half", 0.5, {}), ("anew", 1, {"found_anew": True})):
        folder = tmp_path / name
        for record, factor in ((fake, size), (original, 1)):
            with CropReader(made.folder / record.assets["crops"]) as crops:
                rows = np.flatnonzero(crops.table["valid"])
                images = [cv2.resize(i, None, fx=factor, fy=factor) for i in crops.read(rows)]
                path = folder / record.assets["crops"]
                write_container(path, crops.table, zip(rows, images, strict=True), facts={**crops.facts, **facts})
        masks[name] = run_stage(REGISTRY["masks"], Manifest((replace(fake, path=""), original), folder), ENGINE)
    assert masks["half"] == []
    with CropReader(tmp_path / "half" / "masks" / f"{fake.id}.zip") as halves:
        assert halves.table["valid"].sum() == 4
    assert [(failure.video, failure.reason) for failure in masks["anew"]] == [(fake.id, "other_shape")]


def test_fakes_without_a_swapped_face_are_counted(made, tmp_path, caplog):
    records = [record for record in made.records if record.group == made.records[0].group]
    copies = [replace(record, original=None if record.label == 0 else record.original, path="") for record in records]
    folder = tmp_path / "out"
    for record in records:
        source = next(r for r in records if r.id == (record.original or record.id))
        (folder / record.assets["crops"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made.folder / source.assets["crops"], folder / record.assets["crops"])  # nothing was changed
    run_stage(REGISTRY["masks"], Manifest(tuple(copies), folder), ENGINE)
    fakes = sum(record.label for record in records)
    assert f"{fakes} of {fakes} fakes have no face that was swapped" in caplog.text


def test_landmarks_are_seen_on_every_crop(made):
    for record in made.records:
        points = np.load(made.folder / record.assets["landmarks"])
        assert points.shape == (4, 5, 2)
        with CropReader(made.folder / record.assets["crops"]) as crops:
            told = np.stack([crops.table[name] for name in list(crops.table)[-10:]], 1).reshape(-1, 5, 2)
            side = crops.table["x1"] - crops.table["x0"]
        if record.label == 0:
            assert np.nanmax(np.abs(points - told) / side[:, None, None]) < 0.12


@given(st.floats(-3, 3), st.floats(0.3, 4), st.floats(-50, 50), st.floats(-50, 50))
def test_a_similarity_is_recovered(angle, scale, x, y):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = similarity(TEMPLATE, TEMPLATE @ turn.T + [x, y])
    np.testing.assert_allclose(matrix, np.hstack([turn, [[x], [y]]]), atol=1e-6)


@pytest.mark.parametrize("size", [24, 32, 64, 160])
def test_a_margin_of_the_readers_moves_nothing(size):
    """The stored margin asked for by name is the whole crop, to a fraction of a pixel."""
    ramp = np.add.outer(np.arange(128.0), np.arange(128.0))[..., None].repeat(3, 2).round().astype(np.uint8)
    face, stored = (20.0, 20.0, 120.0, 120.0), (5.0, 5.0, 135.0, 135.0)
    table = {name: np.array([value]) for name, value in zip((*FACE_BOX, *CROP_BOX), (*face, *stored), strict=True)}
    whole, named = (show(ramp, table, 0, size, margin).astype(float) for margin in (None, 0.3))
    inner = slice(4, -4)
    assert abs((named - whole)[inner, inner].mean()) < 0.15


def test_aligned_eyes_are_level_and_margins_shrink(made):
    record = next(r for r in made.records if r.label == 0)
    with CropReader(made.folder / record.assets["crops"]) as crops:
        table, (image,) = crops.table, crops.read([0])
    whole, near = show(image, table, 0, 96), show(image, table, 0, 96, margin=0.0)
    side = table["cx1"][0] - table["cx0"][0]
    inner = round(96 * 1.3)
    expected = cv2.resize(image, (inner, inner), interpolation=cv2.INTER_AREA)
    edge = (inner - 96) // 2
    expected = expected[edge : edge + 96, edge : edge + 96]
    assert whole.shape == near.shape == (96, 96, 3)
    assert np.abs(near.astype(int) - expected).mean() < 6
    aligned = show(image, table, 0, 96, align=True)
    assert aligned.shape == (96, 96, 3)
    points = np.array([[table[f"l{axis}{i}"][0] for axis in "xy"] for i in range(5)])
    matrix = similarity((points - [table["cx0"][0], table["cy0"][0]]) * image.shape[0] / side, template(96, 0.3))
    moved = (points - [table["cx0"][0], table["cy0"][0]]) * image.shape[0] / side @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(moved - template(96, 0.3)).max() < 8


def test_folds_in_the_winners_columns(made, tmp_path):
    with write_folds(made, tmp_path / "folds.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["video", "file", "label", "original", "frame", "fold"]
    assert len(rows) == 4 * len(made.records)
    assert len({(row["video"], row["file"]) for row in rows}) == len(rows)
    assert {row["original"] for row in rows if row["video"].endswith("__000_001")} == {"youtube__000"}
    pair = replace(made, records=tuple(r for r in made.records if r.method in ("real", "Deepfakes")))
    with write_folds(pair, tmp_path / "pair.csv").open(newline="") as file:
        assert {(r["video"], r["original"]) for r in csv.DictReader(file)} >= {("000", "000"), ("000_001", "000")}
    part = replace(made.records[0], path="/x/dfdc_train_part_49/a.mp4")
    assert fold(part) == 15
    assert [fold(replace(made.records[0], path="", split=split)) for split in ("val", "test")] == [0, -1]


def test_the_same_face_in_two_splits_is_found(made):
    reals = [replace(record, split="train", group="1") for record in made.records if record.label == 0][:1]
    twins = [replace(reals[0], id="copy", split="test", group="2")]
    table, said = leaks(Manifest((*reals, *twins), made.folder))
    assert table[["video", "other_video", "bits"]].values.tolist() == [[f"ffpp/{reals[0].id}", "ffpp/copy", 0]]
    assert "1 near-duplicate" in said[1]
    other = Manifest((replace(twins[0], dataset="else"),), made.folder)
    table, said = leaks(Manifest(tuple(reals), made.folder), {"else": other})
    assert len(table) == 1
    assert "1 near-duplicate faces with else" in said[2]


def test_a_perceptual_hash_survives_compression_but_not_another_picture(made):
    with CropReader(made.folder / made.records[0].assets["crops"]) as crops:
        (image,) = crops.read([0])
    small = cv2.imdecode(cv2.imencode(".jpg", cv2.resize(image, (64, 64)), [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 1)
    bits = int(np.bitwise_count(perceptual_hash(image) ^ perceptual_hash(small)))
    other = int(np.bitwise_count(perceptual_hash(image) ^ perceptual_hash(image[::-1])))
    assert bits <= 6 < other


def test_the_doctor_counts_and_opens(tiny_ffpp, tmp_path):
    records = [record for record in ffpp.index(tiny_ffpp) if record.group == "000_001"]
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 1000)
    table = examine([*records, replace(records[0], id="broken", path=str(broken))], tmp_path / "p", ENGINE)
    assert table["frames"].tolist()[:-1] == [table["frames"][0]] * (len(records) // 2) + [table["frames"][5]] * 5
    rows = compare(records, {"real": {"train": 2}, "Deepfakes": {"train": 3}, "fake": {"all": 8, "rest": 8}})
    assert rows == [
        ("real", "train", 2, 2),
        ("Deepfakes", "train", 2, 3),
        ("fake", "all", 8, 8),
        ("fake", "rest", 8, 8),
    ]
    said = problems(rows, table)
    assert said[0] == "Deepfakes train: 2 of 3"
    assert said[1].startswith("1 files cannot be read (1 x decode_error), e.g. broken")
    assert problems(rows[:1], table[:-1]) == []
    stamp = (tmp_path / "p" / "probe").iterdir().__next__().stat().st_mtime_ns
    examine([*records, replace(records[0], id="broken", path=str(broken))], tmp_path / "p", ENGINE)
    assert (tmp_path / "p" / "probe").iterdir().__next__().stat().st_mtime_ns == stamp


class Deadly:
    """A look at files of which one kills the process that looks."""

    def __call__(self, items):
        for item in items:
            if any(Path(path).name == "deadly.mp4" for _, path, _ in item.given["files"]):
                os.kill(os.getpid(), signal.SIGKILL)
        return examine_part(items)


@pytest.mark.slow
def test_the_doctor_survives_a_file_that_kills_its_reader(head_video, tmp_path, monkeypatch):
    deadly = tmp_path / "deadly.mp4"
    deadly.write_bytes(b"\0")
    records = [Record(p.stem, "d", "train", 0, str(p), "g") for p in (head_video, deadly)]
    monkeypatch.setattr("dfd.preprocess.doctor.examine_part", Deadly())
    table = examine(records, tmp_path / "p", Engine(workers=1))
    assert table["video"].tolist() == ["head", "deadly"]
    assert table["reason"].tolist() == ["", "crashed"]
    assert table["frames"].tolist() == [30, 0]
    assert "deadly.mp4 killed the process that read it" in table["detail"][1]


@given(st.lists(st.integers(0, 9999), unique=True, max_size=40), st.integers(1, 7))
def test_shares_are_disjoint_whole_and_keep_pairs_together(numbers, count):
    records = [Record(f"real{n}", "d", "train", 0, "", "g") for n in numbers]
    records += [Record(f"fake{n}", "d", "train", 1, "", "g", original=f"real{n}") for n in numbers]
    shares = [{r.id for r in records if in_shard(r, f"{i}/{count}")} for i in range(count)]
    assert sorted(name for share in shares for name in share) == sorted(r.id for r in records)
    assert all({f"fake{n[4:]}" for n in share if n.startswith("real")} <= share for share in shares)
    with pytest.raises(DfdError, match="write i/n"):
        in_shard(records[0] if records else Record("x", "d", "train", 0, "", "g"), "3/3")


def test_tracks_are_summed_up(made):
    rows = tracks(made)
    assert len(rows) == len(made.records)
    assert {row["seen"] for row in rows} == {1.0}
    assert json.dumps(rows)


def test_stages_come_after_what_they_need():
    assert [stage.name for stage in plan(["leakage", "masks"])] == ["detect", "crop", "masks", "leakage"]
    assert [stage.name for stage in plan(["detect", "probe"])] == ["probe", "detect"]
    with pytest.raises(DfdError, match=r"stages=lanmarks: there are probe, .*did you mean 'landmarks'"):
        plan(["lanmarks"])
    with pytest.raises(DfdError, match=r"json has no dfd\.preprocess\.stages\.Stage of that name"):
        plan(["json.dumps"], ["json"])


def test_stages_that_need_each_other_are_refused(monkeypatch):
    monkeypatch.setattr("dfd.preprocess.stages.REGISTRY", dict(REGISTRY))
    register(Stage("egg", "a toy", needs=("hen",)))
    register(Stage("hen", "a toy", needs=("egg",)))
    with pytest.raises(DfdError, match="circle: egg -> hen -> egg"):
        plan(["egg"])
