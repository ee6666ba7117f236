"""A run folder of a stranger decides what is trained, not whose code runs, what is read, or who is told."""

from contextlib import suppress
from pathlib import Path

import pytest

from dfd.cli.foreign_yaml import read_yaml
from dfd.cli.recipe import primary
from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.records import Record
from dfd.data.crops import CropReader, write_crops
from dfd.preprocess.dataset import find_source
from tests.conftest import noise_crops
from tests.hostile.media import flipped

GOOD = "choices: {model: meso}\nconfig: {seed: 3, model: {name: meso}}\n"


def recipe(folder: Path, text: str) -> list[str]:
    (folder / "recipe.yaml").write_text(text)
    return [f"run={folder}"]


def test_a_good_one_is_composed_from(tmp_path):
    assert primary(recipe(tmp_path, GOOD)) == "train_again"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("choices: {}\nconfig: {hydra: {callbacks: {x: {_target_: os.system}}}}", "sets hydra"),
        ("choices: {}\nconfig: {defaults: [/tmp/evil]}", "sets defaults"),
        ("choices: {}\nconfig: {plugins: [subprocess]}", r"plugins=\[subprocess\]"),
        ("choices: {model: ../../../tmp/evil}\nconfig: {}", "not the name of a configuration"),
        ("choices: {model: [a]}\nconfig: {}", "not the name of a configuration"),
        (
            "choices: {}\nconfig: {logger: {x: {_target_: pytorch_lightning.loggers.MLFlowLogger}}}",
            "sends what it logs",
        ),
        ("choices: {}\nconfig: {seed: '${oc.env:SECRET}'}", "may not read the environment"),
        ("choices: {}\nconfig: {seed: '${ oc.env:SECRET}'}", "may not read the environment"),
        ("choices: {}\nconfig: {a: oc, seed: '${${.a}.env:SECRET}'}", "may not read the environment"),
        ("choices: {}\nconfig: {seed: '${oc.decode:x}'}", "may not read the environment"),
        ("choices: {}\nconfig: {seed: '${hydra:runtime.cwd}'}", "may not read the environment"),
        ("a: &a [x, x]\nb: &b [*a, *a]\n", "aliases"),
        ("choices: !!python/object/apply:os.system ['true']", "cannot be read as YAML"),
        ("choices: [", "cannot be read as YAML"),
        ("- 1\n- 2\n", "holds a list"),
        ("config: 3", "is not a recipe"),
        ("", "is not a recipe"),
        ("{" * 5000, "cannot be read as YAML"),
        ("x: " + "y" * 5_000_000, "larger than"),
    ],
)
def test_what_a_recipe_may_not_do(tmp_path, text, said):
    with pytest.raises(DfdError, match=said) as caught:
        primary(recipe(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_what_the_user_repeats_is_his_choice(tmp_path):
    text = "choices: {}\nconfig: {plugins: [mylab]}"
    assert primary([*recipe(tmp_path, text), "plugins=[mylab]"]) == "train_again"


def test_bytes_that_are_not_text_are_one_line(tmp_path):
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DfdError, match="cannot be read as YAML"):
        read_yaml(tmp_path / "config.yaml")


@pytest.mark.parametrize("name", ["../../home", "/etc", "..", "a/b", ""])
def test_a_dataset_has_a_plain_name(tmp_path, name):
    with pytest.raises(DfdError, match="plain name"):
        find_source({"name": name}, tmp_path)


@pytest.mark.parametrize("asset", ["/etc/passwd", "../../secret.zip", "a/../../secret.zip"])
def test_assets_stay_in_the_folder_of_their_manifest(tmp_path, asset):
    record = Record("a", "d", "test", 0, "a.mp4", "a", "real", assets={"crops": asset})
    Manifest((record,), tmp_path).write(tmp_path / "manifest.parquet")
    with pytest.raises(DfdError, match="outside of its folder"):
        Manifest.read(tmp_path / "manifest.parquet")


@pytest.mark.parametrize("cut", [0, 10, 500, -20])
def test_a_damaged_manifest_is_one_line(tmp_path, cut):
    path = tmp_path / "manifest.parquet"
    Manifest((Record("a", "d", "test", 0, "a.mp4", "a", "real"),), tmp_path).write(path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DfdError, match="is damaged") as caught:
        Manifest.read(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_container_of_crops_is_one_line(tmp_path):
    path = tmp_path / "a.zip"
    write_crops(path, noise_crops(0, 0))
    good = path.read_bytes()
    for seed in range(60):
        path.write_bytes(flipped(good, seed, 0.001))
        with suppress(DfdError), CropReader(path) as crops:  # anything else fails the test
            assert isinstance(crops.facts, dict)
            crops.read(range(len(crops.table["frame"])))
