"""CDDB: scenarios, layouts, splits, shared reals, and its drawn stand-in."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from dfd.core.errors import DfdError
from dfd.core.manifest import check
from dfd.core.records import InputSpec
from dfd.data.datasets.cddb import GENERATORS, SCENARIOS, choose, index
from dfd.data.images import ImageViews
from dfd.data.sample import build, describe
from dfd.data.sample.pictures import GENERATORS as DRAWN


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return build("cddb", tmp_path_factory.mktemp("pictures") / "cddb", pictures=12)


def methods(records):
    return {record.method for record in records}


def test_a_sample_of_too_few_pictures_is_said(tmp_path):
    with pytest.raises(DfdError, match="at least 8 pictures of a kind, got 6"):
        build("cddb", tmp_path / "few", pictures=6)


def test_the_sample_has_the_layout_of_the_original(root):
    assert {path.name for path in root.iterdir() if path.is_dir()} == set(GENERATORS)
    nested = {name for name in GENERATORS if not (root / name / "train" / "0_real").is_dir()}
    assert nested == {"cyclegan", "glow", "stargan_gf", "stylegan"}
    categories = [{path.name for path in (root / "stylegan" / split).iterdir()} for split in ("train", "val")]
    assert categories[0] != categories[1]
    modes = {Image.open(path).mode for path in root.rglob("*.png") if path.name != "contact_sheet.png"}
    assert {"L", "RGB", "RGBA", "P"} <= modes


def test_the_sample_is_decided_by_its_facts(root, tmp_path):
    again = build("cddb", tmp_path / "again", pictures=12)
    name = "wild/val/1_fake/00003"
    one, two = (next(folder.glob(f"{name}.*")).read_bytes() for folder in (root, again))
    assert one == two
    assert describe("cddb", seed=1) != describe("cddb")
    with pytest.raises(DfdError, match="at least 8 pictures of a kind, got 4"):
        build("cddb", tmp_path / "few", pictures=4)
    stamp = (root / "sample.json").stat().st_mtime
    build("cddb", root, pictures=12)
    assert (root / "sample.json").stat().st_mtime == stamp
    assert set(DRAWN) == set(GENERATORS)


@pytest.mark.parametrize(
    ("scenario", "known", "strange"),
    [("content", 5, 4), ("group", 5, 7), ("mix", 7, 5), ("easy", 7, 5), ("hard", 5, 7)],
)
def test_scenarios(root, scenario, known, strange):
    chosen = SCENARIOS[scenario]
    assert (len(chosen.id), len(chosen.ood)) == (known, strange)
    assert not set(chosen.id) & set(chosen.ood)
    records = list(index(root, scenario))
    check(records)
    assert methods(records) == set(chosen.id)
    assert methods(index(root, scenario, part="ood")) == set(chosen.ood)
    assert {record.split for record in records} == {"train", "val", "test"}


def test_labels_and_splits_follow_the_folders(root):
    for record in index(root, part="all"):
        assert record.label == ("1_fake" in record.path)
        assert (record.split == "test") == ("/val/" in record.path)
    counts = Counter(record.method for record in index(root, part="all"))
    assert set(counts.values()) == {2 * 12 + 2 * 4}


def test_validation_comes_from_the_test_folder_only_if_asked(root):
    original = list(index(root, valid_from="val", val_fraction=0.5))
    assert {r.split for r in original if "/val/" in r.path} == {"val", "test"}
    assert {r.split for r in original if "/train/" in r.path} == {"train"}


def test_outliers_leave_the_test_unless_the_oracle_is_asked_for(root):
    outliers = ("crn", "wild")
    assert methods(index(root, outliers=outliers, part="outliers")) == set(outliers)
    assert not methods(index(root, outliers=outliers, part="ood")) & set(outliers)
    assert methods(index(root, outliers=outliers, oracle_outliers=True, part="ood")) >= set(outliers)


def test_outliers_that_share_their_reals_keep_them_and_the_test_has_none_of_them(root):
    def reals(part, outliers):
        records = [r for r in index(root, outliers=outliers, part=part) if r.label == 0]
        return {r.method for r in records}

    assert reals("outliers", ["crn", "imle", "san"]) == {"crn", "imle", "san"}
    assert reals("outliers", ["glow", "san"]) == {"san"}  # glow's are those of stargan_gf, which is known
    assert not reals("ood", ["crn", "san"]) & {"crn", "imle", "san"}


def test_reals_that_a_known_generator_has_too_are_not_strange(root):
    def reals(**options):
        return {r.method for r in index(root, part="ood", **options) if r.label == 0}

    assert "glow" not in reals()  # CelebA, as the known stargan_gf
    assert "crn" in reals()
    assert "imle" not in reals(outliers=["crn"])  # the same pictures as crn's, which are trained on
    assert "glow" in reals(ood_label="all")
    assert reals(ood_label="fake_only") == set()


def test_what_is_wrong_is_named(root, tmp_path):
    for options, message in (
        ({"scenario": "grup"}, "scenario=grup: choose from content"),
        ({"scenario": "custom"}, r"custom needs data\.index\.id"),
        ({"id": ["glow2"]}, "did you mean 'glow'"),
        ({"id": ["glow"]}, "glow cannot be both of id and ood"),
        ({"outliers": ["biggan"]}, "biggan cannot be both of id and outliers"),
    ):
        with pytest.raises(DfdError, match=message):
            list(index(root, **options))
    with pytest.raises(DfdError, match="no CDDB at"):
        list(index(tmp_path / "none"))
    with pytest.raises(DfdError, match="lacks biggan/"):
        list(index(tmp_path))
    assert choose("custom", ["san"], ["wild"]).id == ("san",)


def test_pictures_of_every_mode_become_rgb(root):
    records = list(index(root, part="all"))
    views = ImageViews(records, InputSpec("image", 32))
    for number in range(0, len(records), 7):
        pixels = views[number]["pixels"]
        assert pixels.shape == (1, 3, 32, 32)
        assert pixels.dtype == np.uint8
