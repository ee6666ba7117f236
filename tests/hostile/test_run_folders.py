"""A run folder of a stranger decides what is trained, not whose code runs, what is read, or who is told."""

from pathlib import Path

import pytest

from dfd.cli.foreign_yaml import read_yaml
from dfd.cli.recipe import primary
from dfd.core.errors import DfdError
from dfd.preprocess.dataset import find_source

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
