"""Models compose with datasets, and every argument in a configuration exists."""

import pathlib
import re

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dfd.cli.app import prepare
from dfd.core.build import allowed, check
from dfd.core.configs import config_dir
from dfd.core.errors import DfdError

CONFIGS = config_dir()


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("[!_]*.yaml"))


def composed(root: str, *overrides: str) -> dict:
    prepare()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        cfg = compose(root, list(overrides))
    tree = OmegaConf.to_container(cfg, resolve=True)
    check(tree, allowed(()))
    return tree


# of all pairs a fifth, which names every model and every dataset several times: a pair takes half a second
PAIRS = [
    (model, data)
    for row, model in enumerate(names("model"))
    for column, data in enumerate(names("data"))
    if (row + column) % 5 == 0
]


def test_every_model_and_every_dataset_is_in_some_pair():
    assert {model for model, _ in PAIRS} == set(names("model"))
    assert {data for _, data in PAIRS} == set(names("data"))


@pytest.mark.parametrize(("model", "data"), PAIRS)
def test_models_compose_with_datasets(model, data):
    tree = composed("train", f"model={model}", f"data={data}")
    assert (tree["model"]["name"], tree["data"]["name"]) == (model, data)


@pytest.mark.parametrize(
    ("group", "name"),
    [
        (g, n)
        for g in (
            "optimizer",
            "scheduler",
            "augment",
            "trainer",
            "callbacks",
            "logger",
            "experiment",
            "debug",
            "hparams_search",
            "hydra/launcher",
            "hydra/sweeper",
        )
        for n in names(g)
    ],
)
def test_every_choice_of_every_group(group, name):
    composed("train", f"{group}={name}")


def test_every_experiment_that_a_configuration_mentions_exists():
    texts = [path.read_text() for path in CONFIGS.rglob("*.yaml")]
    mentioned = {name for text in texts for name in re.findall(r"\bexperiment=(\w+)", text)}
    assert mentioned <= set(names("experiment"))


@pytest.mark.parametrize("name", names("model"))
def test_what_is_scaled_down_on_the_sample_exists(name):
    prepare()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        cfg = compose("train", [f"model={name}"])
        for key, value in cfg.sample.items():
            place, _, name = str(key).rpartition(".")
            assert name in OmegaConf.select(cfg, place), key
            OmegaConf.update(cfg, key, value, merge=False)
    check(OmegaConf.to_container(cfg, resolve=True), allowed(()))


def test_the_other_roots():
    assert composed("eval", "run=x", "data=celebdf")["data"]["name"] == "celebdf"
    assert composed("predict", "run=x", "input=y")["threshold"] is None
    assert composed("preprocess", "data=celebdf")["data"]["title"] == "Celeb-DF v2"


@pytest.mark.parametrize(("group", "name"), [(g, n) for g in ("eval", "corruption") for n in names(g)])
def test_every_protocol_and_corruption(group, name):
    from dfd.data.corrupt import LEVELS, STRENGTHS
    from dfd.evaluation.protocol import Protocol

    tree = composed("eval", "run=x", f"{group}={name}")
    assert tree[group]["name"] == name
    assert Protocol.of(tree["eval"]).plain() == tree["eval"]  # the schema and the class know the same keys
    assert set(tree["corruption"]["kinds"]) <= set(STRENGTHS)
    assert set(tree["corruption"]["levels"]) <= set(LEVELS)


@pytest.mark.parametrize(
    "override", ["sead=1", "seed=abc", "model=mesoo", "model.network.sizes=3", "trainer.max_epoch=1"]
)
def test_a_wrong_key_or_type_fails_at_composition(override):
    from hydra.errors import HydraException

    with pytest.raises((HydraException, OmegaConfBaseException)):
        composed("train", override)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lr=fast", "optimizer.lr='fast': expected"),
        ("+model.network.depth=3", "ImageDetector has no argument 'depth'"),
        ("model.network.size=large", r"model\.network\.size='large'"),
    ],
)
def test_a_wrong_argument_fails_before_anything_is_built(override, message):
    with pytest.raises(DfdError, match=message):
        composed("train", override)


def test_the_shims_are_shims():
    for name in ("train", "eval", "predict", "preprocess"):
        path = pathlib.Path(__file__).parents[2] / f"{name}.py"
        assert f"from dfd.cli.{name} import main" in path.read_text()
        assert len(path.read_text().splitlines()) < 10
