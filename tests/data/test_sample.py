"""The sample has the official layouts, is the same for a seed, and cannot be solved by its colours."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dfd.core.errors import DfdError
from dfd.core.manifest import check
from dfd.data.datasets import celebdf, ffpp
from dfd.data.sample import build
from dfd.data.video import probe, read_frames
from dfd.metrics.ranking import roc_auc


def digest(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(
            b"".join(image.tobytes() for _, _, image in read_frames(path, [0, 20]))
        ).hexdigest()
        for path in sorted(root.rglob("*.mp4"))
    }


@pytest.fixture(scope="session")
def tiny_celebdf(tmp_path_factory):
    return build("celebdf", tmp_path_factory.mktemp("sample") / "celebdf", identities=9)


def test_ffpp_has_the_official_layout(tiny_ffpp):
    assert json.loads((tiny_ffpp / "splits" / "test.json").read_text()) == [["006", "007"]]
    records = list(ffpp.index(tiny_ffpp))
    assert check(records) == []
    assert Counter(record.split for record in records) == {"train": 20, "val": 10, "test": 10}
    assert Counter(record.method for record in records) == dict.fromkeys(("real", *ffpp.METHODS), 8)
    fake = next(record for record in records if record.id == "FaceSwap/007_006")
    assert (fake.group, fake.original, fake.label) == ("006_007", "youtube/007", 1)
    assert fake.path.endswith("manipulated_sequences/FaceSwap/c23/videos/007_006.mp4")
    assert (tiny_ffpp / "contact_sheet.png").is_file()


def test_celebdf_has_the_official_layout_and_its_inverted_labels(tiny_celebdf):
    lines = (tiny_celebdf / "List_of_testing_videos.txt").read_text().split("\n")
    assert "1 Celeb-real/id1_0000.mp4" in lines
    assert "0 Celeb-synthesis/id1_id3_0000.mp4" in lines
    records = {record.id: record for record in celebdf.index(tiny_celebdf)}
    assert check(list(records.values())) == []  # unlike the official one, the sample's split shares no identity
    fake = records["Celeb-synthesis/id1_id3_0000"]
    assert (fake.split, fake.label, fake.group, fake.original) == ("test", 1, "id1", "Celeb-real/id1_0000")
    assert records["Celeb-real/id1_0000"].label == 0
    assert {record.split for record in records.values()} == {"train", "val", "test"}
    assert any(record.id.startswith("YouTube-real/") for record in records.values())


def test_fakes_differ_from_their_original_around_the_face_only(tiny_ffpp):
    videos = {name: tiny_ffpp / f"manipulated_sequences/{name}/c23/videos/000_001.mp4" for name in ffpp.METHODS}
    original = tiny_ffpp / "original_sequences/youtube/c23/videos/000.mp4"
    frame = next(image for _, _, image in read_frames(original, [25])).astype(int)
    for path in videos.values():
        assert probe(path) == probe(original)
        difference = np.abs(next(image for _, _, image in read_frames(path, [25])) - frame).mean(2)
        assert difference.max() > 12
        assert np.percentile(difference, 60) < 4


def test_the_same_seed_gives_the_same_pixels_with_any_number_of_processes(tiny_ffpp, tmp_path):
    again = build("ffpp", tmp_path / "again", identities=8, workers=1)
    assert digest(again) == digest(tiny_ffpp)


def test_a_whole_sample_is_kept_and_anything_else_is_built_anew(tmp_path):
    root = build("ffpp", tmp_path / "s", identities=6)
    stamp = (root / "sample.json").stat().st_mtime_ns
    build("ffpp", root, identities=6)
    assert (root / "sample.json").stat().st_mtime_ns == stamp
    first = digest(root)
    (root / "sample.json").unlink()  # as if it had been killed
    (root / "original_sequences/youtube/c23/videos/000.mp4").write_bytes(b"half")
    assert digest(build("ffpp", root, identities=6, seed=1)) != first
    assert not list(tmp_path.glob(".*"))


def test_there_is_no_sample_of_everything(tmp_path):
    with pytest.raises(DfdError, match="no sample of 'uadfv'"):
        build("uadfv", tmp_path / "x")
    with pytest.raises(DfdError, match="at least 6 identities"):
        build("ffpp", tmp_path / "x", identities=4)


@pytest.mark.slow
def test_colours_do_not_tell_real_from_fake(tmp_path):
    """A logistic regression on mean and spread of colour in the middle of the picture stays below 0.65."""
    records = list(ffpp.index(build("ffpp", tmp_path / "ffpp", identities=42)))

    def colours(path: str) -> np.ndarray:
        frames = [image[60:190, 90:230] for _, _, image in read_frames(Path(path), range(0, 50, 10))]
        return np.concatenate([np.mean(frames, (0, 1, 2)), np.std(frames, (0, 1, 2))])

    features = np.stack([colours(record.path) for record in records])
    labels = np.array([record.label for record in records])
    test = np.array([record.split == "test" for record in records])
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    scores = model.fit(features[~test], labels[~test]).decision_function(features[test])
    assert roc_auc(labels[test], scores) < 0.65


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: (root / "splits" / "val.json").unlink(), r"no val\.json"),
        (lambda root: (root / "manipulated_sequences/FaceSwap/c23/videos/000_001.mp4").unlink(), "1 of 6 FaceSwap"),
        (lambda root: (root / "manipulated_sequences/FaceSwap").rename(root / "x"), "lacks manipulated_sequences/Face"),
        (lambda root: root.rename(root.with_name("moved")), r"ondyari/FaceForensics.*data\.root="),
    ],
)
def test_a_download_that_is_not_whole_says_what_is_missing(ffpp_copy, break_it, message):
    break_it(ffpp_copy)
    with pytest.raises(DfdError, match=message):
        list(ffpp.index(ffpp_copy))


def test_missing_videos_can_be_allowed(ffpp_copy):
    (ffpp_copy / "manipulated_sequences/FaceSwap/c23/videos/000_001.mp4").unlink()
    assert len(list(ffpp.index(ffpp_copy, allow_missing=True))) == 29
    with pytest.raises(DfdError, match="choose from c0, raw, c23, c40"):
        list(ffpp.index(ffpp_copy, compression="c99"))
    with pytest.raises(DfdError, match="unknown Swap"):
        list(ffpp.index(ffpp_copy, methods=["Swap"]))


@pytest.fixture
def ffpp_copy(tmp_path):
    """Six identities' worth of empty files in the official layout."""
    root = tmp_path / "ffpp"
    (root / "splits").mkdir(parents=True)
    for split, pair in {"train": ["000", "001"], "val": ["002", "003"], "test": ["004", "005"]}.items():
        (root / "splits" / f"{split}.json").write_text(json.dumps([pair]))
        for a, b in (pair, pair[::-1]):
            names = [f"original_sequences/youtube/c23/videos/{a}.mp4"]
            names += [f"manipulated_sequences/{method}/c23/videos/{a}_{b}.mp4" for method in ffpp.METHODS]
            for name in names:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).touch()
    return root


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: (root / "List_of_testing_videos.txt").unlink(), "lacks List_of_testing_videos"),
        (
            lambda root: (root / "Celeb-real" / "id1_0000.mp4").unlink(),
            "1 of Celeb-real are missing, e.g. Celeb-real/id1",
        ),
        (lambda root: (root / "List_of_testing_videos.txt").write_text("0 Celeb-real/id1_0000.mp4"), "does not fit"),
        (lambda root: (root / "YouTube-real").rename(root / "x"), "lacks the folder YouTube-real"),
    ],
)
def test_celebdf_that_is_not_whole_says_what_is_missing(tmp_path, break_it, message):
    for name in ("Celeb-real/id0_0000", "Celeb-real/id1_0000", "YouTube-real/00000", "Celeb-synthesis/id1_id0_0000"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.mp4").touch()
    listed = "1 Celeb-real/id1_0000.mp4\n0 Celeb-synthesis/id1_id0_0000.mp4\n"
    (tmp_path / "List_of_testing_videos.txt").write_text(listed)
    assert len(list(celebdf.index(tmp_path))) == 4
    break_it(tmp_path)
    with pytest.raises(DfdError, match=message):
        list(celebdf.index(tmp_path))
