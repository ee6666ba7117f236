"""Features of files: the same however a file is cut up, decoded once, resumed after a kill, and bad input is listed."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import torch

from dfd.core.errors import DfdError
from dfd.core.records import Record
from dfd.data.features import VIDEOS, FeatureFacts, FeatureStore, open_streams
from dfd.data.sample.talking import write_talk
from dfd.models.byola import AudioNtt2020
from dfd.models.i3d import I3d
from dfd.models.tsn import to_mmaction, trunk
from dfd.preprocess.features import extract as module
from dfd.preprocess.features.base import FPS
from dfd.preprocess.features.byola import ByolaFeatures
from dfd.preprocess.features.extract import extract
from dfd.preprocess.features.flow import Dis, fields, quantised
from dfd.preprocess.features.frames import RunFeatures, TimmFeatures
from dfd.preprocess.features.handcrafted import HandcraftedPictures, HandcraftedSound
from dfd.preprocess.features.i3d import I3dFeatures
from dfd.preprocess.features.reduce import project
from dfd.preprocess.features.stage import FeatureOptions, prepare_features
from dfd.preprocess.runner import Engine

HANDCRAFTED = "dfd.preprocess.features.handcrafted."
BOTH = {
    "pictures": {"_target_": f"{HANDCRAFTED}HandcraftedPictures"},
    "sound": {"_target_": f"{HANDCRAFTED}HandcraftedSound"},
}
HERE = Engine(workers=0)


def pictures(count: int, seed: int = 0, size: tuple[int, int] = (96, 128)) -> list[np.ndarray]:
    """Noise that drifts: every frame differs from its neighbours."""
    base = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    return [np.roll(base, 2 * i, 1) for i in range(count)]


def voice(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(16000 * seconds))).astype(np.float32)


def talk(path: Path, frames: int = 20, seed: int = 0, fps: int = 25) -> Path:
    write_talk(path, pictures(frames, seed), voice(frames / fps, seed), fps)
    return path


def records(folder: Path, count: int = 4, split: str = "train") -> list[Record]:
    made = []
    for i in range(count):
        path = talk(folder / f"{split}{i}.mp4", 20 + i, i)
        made.append(Record(f"{split}/{i}", "made", split, i % 2, str(path), f"{split}{i}"))
    return made


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return talk(tmp_path_factory.mktemp("clip") / "a.mp4", 30)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save(I3d(2).state_dict(), folder / "i3d_flow.pt")
    torch.save({"state_dict": to_mmaction(trunk(10).state_dict())}, folder / "tsn_flow.pth")
    torch.save(AudioNtt2020(16).state_dict(), folder / "byola.pth")
    return folder


def test_handcrafted_features_are_on_one_clock(clip):
    extracted = extract(clip, [HandcraftedPictures(), HandcraftedSound()])
    assert {name: rows.shape for name, rows in extracted.rows.items()} == {"video": (30, 408), "audio": (30, 324)}
    assert extracted.frames == 30
    assert extracted.fps == 25
    for extractor in (HandcraftedPictures(), HandcraftedSound()):
        (facts,) = extractor.streams
        assert (facts.rate, facts.start) == (FPS, 0.02)
        assert np.abs(extracted.rows[facts.name]).max() < 10


def test_what_changes_at_a_moment_shows_at_that_row(tmp_path):
    frames, sound = [np.full((96, 128, 3), 90, np.uint8)] * 50, np.zeros(32000, np.float32)
    frames = [frame if i < 25 else pictures(1)[0] for i, frame in enumerate(frames)]
    sound[16000:] = voice(1)
    write_talk(tmp_path / "a.mp4", frames, sound, crf=10)
    rows = extract(tmp_path / "a.mp4", [HandcraftedPictures(), HandcraftedSound()]).rows
    for name in ("video", "audio"):
        step = np.abs(np.diff(rows[name][:45].astype(float), axis=0)).mean(1)  # AAC ends in silence
        assert abs(int(step.argmax()) + 1 - 25) <= 1, name


def test_no_extractor_depends_on_how_a_file_is_cut_up(clip, weights, monkeypatch):
    extractors = [
        HandcraftedPictures(),
        HandcraftedSound(),
        ByolaFeatures(str(weights / "byola.pth")),
        TimmFeatures("resnet18", False, stride=2),
    ]
    whole = extract(clip, extractors).rows
    monkeypatch.setattr(module, "FRAMES", 8)
    monkeypatch.setattr(module, "SECONDS", 0.24)
    parts = extract(clip, extractors).rows
    assert whole.keys() == parts.keys() == {"video", "audio", "byola", "frames"}
    assert (len(whole["frames"]), len(whole["byola"])) == (15, 15)
    for name, rows in whole.items():
        assert np.allclose(rows, parts[name], atol=2e-5), name


@pytest.mark.slow
def test_flow_networks_see_windows_about_their_frame(tmp_path, weights, monkeypatch):
    from dfd.preprocess.features.tsn import TsnFeatures

    extractors = [I3dFeatures(str(weights / "i3d_flow.pt"), stride=8), TsnFeatures(str(weights / "tsn_flow.pth"))]
    clip = talk(tmp_path / "a.mp4", 10)
    whole = extract(clip, extractors).rows
    assert {name: rows.shape for name, rows in whole.items()} == {"i3d_flow": (2, 1024), "tsn_flow": (10, 2048)}
    monkeypatch.setattr(module, "FRAMES", 8)
    parts = extract(clip, extractors).rows
    assert all(np.allclose(whole[name], parts[name], atol=1e-5) for name in whole)


def test_flow_follows_motion_and_repeats_its_ends():
    still = cv2_smooth(pictures(1, size=(160, 160))[0])
    moved = np.roll(still, 3, 1)
    flow = Dis()(still, moved)[40:-40, 40:-40]
    assert np.allclose(flow[..., 0].mean(), 3, atol=0.3)
    assert np.allclose(flow[..., 1].mean(), 0, atol=0.3)
    assert np.all(Dis()(still, still) == 0)
    assert quantised(np.array([0.0, 20.0, -20.0, 25.0])).tolist() == [128, 255, 0, 255]

    class Held:
        def __init__(self, value, beyond=False):
            self.value, self.beyond = value, beyond

        def flow_to(self, other, side, flow):
            return np.full((side, side, 2), other.value - self.value, np.float32)

    frames = [Held(0, True), Held(0), Held(1), Held(3), Held(3, True), Held(3, True)]
    seen = [int(field[0, 0, 0]) for field in fields(frames, 8, 8, Dis())]
    assert seen == [134, 134, 140, 140, 140]  # 1 and 2 pixels, the ends repeated


def cv2_smooth(image: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.GaussianBlur(image, (0, 0), 2)


def test_a_file_is_decoded_once_for_all_extractors(clip, monkeypatch):
    opened = []
    real = module.open_video
    monkeypatch.setattr(module, "open_video", lambda path: opened.append(path) or real(path))
    extract(clip, [HandcraftedPictures(), TimmFeatures("resnet18", False), HandcraftedSound()])
    assert opened == [clip]


@pytest.mark.parametrize("fps", [12, 30, 50])
def test_other_rates_come_to_the_same_clock(tmp_path, fps):
    path = talk(tmp_path / "a.mp4", 2 * fps, fps=fps)
    extracted = extract(path, [HandcraftedPictures()])
    assert abs(len(extracted.rows["video"]) - 50) <= 1
    assert extracted.fps == pytest.approx(fps, abs=0.01)


def test_three_frames_no_sound_and_no_pictures(tmp_path):
    short = talk(tmp_path / "short.mp4", 3)
    rows = extract(short, [HandcraftedPictures(), HandcraftedSound()]).rows
    assert len(rows["video"]) == 3
    from tests.conftest import write_video

    mute = extract(write_video(tmp_path / "mute.mp4", pictures(10)), [HandcraftedPictures(), HandcraftedSound()])
    assert (mute.rows["video"].shape, mute.rows["audio"].shape) == ((10, 408), (0, 324))
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray((voice(1)[None] * 32767).astype(np.int16), "s16", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    spoken = extract(tmp_path / "a.wav", [HandcraftedSound()])
    assert spoken.rows["audio"].shape == (25, 324)
    both = extract(tmp_path / "a.wav", [HandcraftedPictures(), HandcraftedSound()])
    assert len(both.rows["video"]) == 0
    with pytest.raises(DfdError, match="neither pictures nor sound"):
        extract(tmp_path / "mute.mp4", [HandcraftedSound()])


def test_a_store_is_filled_once_and_what_fails_is_listed(tmp_path):
    all_records = records(tmp_path)
    (tmp_path / "empty.mp4").write_bytes(b"")
    bad = [
        Record("train/empty", "made", "train", 0, str(tmp_path / "empty.mp4"), "e"),
        Record("train/lost", "made", "train", 0, str(tmp_path / "lost.mp4"), "l"),
    ]
    manifest, failures = prepare_features([*all_records, *bad], tmp_path / "out", FeatureOptions(BOTH), HERE)
    assert {f.video: f.reason for f in failures} == {"train/empty": "decode_error", "train/lost": "missing_file"}
    assert [(r.id, r.frames) for r in manifest.records] == [(f"train/{i}", 20 + i) for i in range(4)]
    sources = open_streams(manifest.folder, manifest.records[0], ["video", "audio"])
    assert sources["video"].read(manifest.records[1]).dtype == np.float16
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.npy")}
    again, _ = prepare_features([*all_records, *bad], tmp_path / "out", FeatureOptions(BOTH), HERE)
    assert again.records == manifest.records
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.npy")}


def test_one_more_extractor_leaves_the_others_alone(tmp_path):
    all_records = records(tmp_path, 2)
    only = {"pictures": BOTH["pictures"]}
    prepare_features(all_records, tmp_path / "out", FeatureOptions(only), HERE)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("pictures*/**/*.npy")}
    manifest, _ = prepare_features(all_records, tmp_path / "out", FeatureOptions(BOTH), HERE)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("pictures*/**/*.npy")}
    assert {"features/video", "features/audio"} <= manifest.records[0].assets.keys()
    twice = {"a": BOTH["pictures"], "b": BOTH["pictures"]}
    with pytest.raises(DfdError, match="both a and b make a stream 'video'"):
        prepare_features(all_records, tmp_path / "out", FeatureOptions(twice), HERE)


def test_a_file_that_has_changed_is_extracted_again(tmp_path):
    all_records = records(tmp_path, 2)
    prepare_features(all_records, tmp_path / "out", FeatureOptions(BOTH), HERE)
    talk(tmp_path / "train0.mp4", 40, 9)
    manifest, _ = prepare_features(all_records, tmp_path / "out", FeatureOptions(BOTH), HERE)
    source = open_streams(manifest.folder, manifest.records[0], ["video"])["video"]
    assert source.read(manifest.records[0]).shape == (40, 408)


def test_principal_components_are_those_of_the_training_rows(tmp_path):
    all_records = [*records(tmp_path, 3), *records(tmp_path, 2, "test")]
    options = FeatureOptions(BOTH, dtype="float32", pca=8)
    manifest, _ = prepare_features(all_records, tmp_path / "out", options, HERE)
    source = open_streams(manifest.folder, manifest.records[0], ["video"])["video"]
    assert source.facts == FeatureFacts("video", FPS, 8, 0.02)
    folder = source.store.folder
    full = FeatureStore(tmp_path / "out" / folder.name.split("-pca")[0]).source("video")
    train = np.concatenate([full.read(r) for r in all_records[:3]]).astype(np.float64)
    reduced = np.concatenate([source.read(r) for r in manifest.records[:3]])
    _, _, axes = np.linalg.svd(train - train.mean(0), full_matrices=False)
    assert np.allclose(np.abs(reduced), np.abs((train - train.mean(0)) @ axes[:8].T), atol=1e-2)
    with np.load(folder / "video.basis.npz") as basis:
        rows = full.read(all_records[4])
        assert np.allclose(project(rows, basis["mean"], basis["basis"]), source.read(manifest.records[4]), atol=1e-4)


def foreign(folder: Path, all_records: list[Record], rate: float = 12.5, width: int = 6) -> Path:
    for i, record in enumerate(all_records):
        path = folder / "feats" / record.split / f"{Path(record.path).stem}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = round(record.frames / record.fps * rate) if record.frames and record.fps else 20
        np.save(path, np.full((rows, width), i, np.float32))
    return folder / "feats"


def test_features_of_others_are_checked_against_their_videos(tmp_path):
    made = [Record(f"train/{i}", "made", "train", i % 2, f"{i}.mp4", f"g{i}", fps=25.0, frames=500) for i in range(5)]
    folder = foreign(tmp_path, made)
    tree = {"_target_": "dfd.preprocess.features.files.FeatureFiles", "name": "rgb", "folder": str(folder)}
    options = FeatureOptions({"rgb": tree | {"rate": 12.5, "pattern": "{split}/{stem}.npy"}})
    manifest, failures = prepare_features(made, tmp_path / "out", options, HERE)
    assert not failures
    source = open_streams(manifest.folder, manifest.records[0], ["rgb"])["rgb"]
    assert np.array_equal(source.read(manifest.records[3]), np.full((250, 6), 3))
    assert source.facts == FeatureFacts("rgb", 12.5, 6, 0.04)
    # of another extractor, of another length, not there
    np.save(folder / "train" / "1.npy", np.zeros((250, 7)))
    np.save(folder / "train" / "2.npy", np.zeros((125, 6)))
    (folder / "train" / "3.npy").unlink()
    manifest, failures = prepare_features(made, tmp_path / "out", options, HERE)
    assert [(f.video, f.reason) for f in failures] == [
        ("train/1", "bad_features"),
        ("train/2", "bad_features"),
        ("train/3", "missing_features"),
    ]
    assert "is it of another extractor" in failures[0].detail
    assert "is rate=12.5 right" in failures[1].detail
    assert len(manifest.records) == 2
    wrong = FeatureOptions({"rgb": tree | {"rate": 25.0, "pattern": "{split}/{stem}.npy"}})
    with pytest.raises(DfdError, match="is rate=25 right"):
        prepare_features(made, tmp_path / "out", wrong, HERE)


def test_identity_follows_what_decides_the_values(tmp_path, weights):
    one = I3dFeatures(str(weights / "i3d_flow.pt"), stride=4)
    assert one.identity["flow"] == "dis-medium"
    assert one.identity != I3dFeatures(str(weights / "i3d_flow.pt"), stride=8).identity
    copy = tmp_path / "other_name.pt"
    copy.write_bytes((weights / "i3d_flow.pt").read_bytes())
    assert one.identity == I3dFeatures(str(copy), stride=4).identity


@pytest.mark.slow
def test_a_killed_extraction_goes_on_and_equals_an_uninterrupted_one(tmp_path):
    all_records = records(tmp_path, 12)
    script = textwrap.dedent(
        f"""
        from dfd.core.manifest import Manifest
        from dfd.preprocess.features.stage import FeatureOptions, prepare_features
        from dfd.preprocess.runner import Engine
        if __name__ == "__main__":
            from pathlib import Path
            records = Manifest.read(Path({str(tmp_path / "in.parquet")!r})).records
            prepare_features(records, Path({str(tmp_path / "killed")!r}), FeatureOptions({BOTH!r}), Engine(workers=0))
        """
    )
    from dfd.core.manifest import Manifest

    Manifest(tuple(all_records)).write(tmp_path / "in.parquet")
    (tmp_path / "run.py").write_text(script)
    process = subprocess.Popen([sys.executable, str(tmp_path / "run.py")], stderr=subprocess.DEVNULL)
    facts = tmp_path / "killed"
    deadline = time.monotonic() + 120
    while len(list(facts.rglob("sound*/facts/**/*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in facts.rglob("sound*/facts/**/*.json")}
    assert 3 <= len(done) < 12
    resumed, _ = prepare_features(all_records, tmp_path / "killed", FeatureOptions(BOTH), HERE)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in done.items())
    whole, _ = prepare_features(all_records, tmp_path / "whole", FeatureOptions(BOTH), HERE)
    assert [replace(r) for r in resumed.records] == [replace(r) for r in whole.records]
    for path in (tmp_path / "whole").rglob("*.npy"):
        assert path.read_bytes() == (tmp_path / "killed" / path.relative_to(tmp_path / "whole")).read_bytes()
    tables = [pd.read_parquet(next((tmp_path / n).glob("pictures*")) / VIDEOS) for n in ("whole", "killed")]
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.parametrize(
    "tree",
    [
        {"_target_": "dfd.models.meso.MesoInception4", "size": 64},
        {"_target_": "dfd.models.tall.Tall", "variant": "tiny", "pretrained": False, "size": 112},
    ],
)
def test_a_detector_of_ours_is_an_extractor(clip, tmp_path, tree, monkeypatch):
    from dfd.core.build import build
    from dfd.models.checkpoint import save_network

    torch.manual_seed(0)
    save_network(tmp_path / "best.ckpt", build(tree), tree)
    extractor = RunFeatures(str(tmp_path / "best.ckpt"), stride=12)
    whole = extract(clip, [extractor]).rows["detector"]
    assert whole.shape == (3, extractor.streams[0].dimension)
    assert whole.std(0).max() > 0
    monkeypatch.setattr(module, "FRAMES", 10)  # a stretch of fewer frames than a stride
    assert np.allclose(whole, extract(clip, [extractor]).rows["detector"], atol=1e-5)
