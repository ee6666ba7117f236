"""The configuration of a run is composed from again, and of the run that came of it."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict

from dfd.cli.app import prepare
from dfd.cli.invocation import Invocation
from dfd.cli.recipe import primary, write_recipe
from dfd.core.errors import DfdError
from tests.cli.conftest import ROOT, run


def test_a_run_is_one_and_no_axis():
    with pytest.raises(DfdError, match="run= names one run"):
        primary(["-m", "run=a,b"])
    assert primary(["-m", "run=null", "seed=1,2"]) is None


def recipe(folder: Path, name: str, *overrides: str) -> Path:
    """Write the recipe of a run as a training with these overrides does."""
    prepare()
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        cfg = compose(primary(overrides) or "train", [*overrides], return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        with open_dict(cfg):
            del cfg["hydra"]
        (folder / name).mkdir()
        write_recipe(folder / name, cfg, Invocation.current())
    HydraConfig.instance().cfg = None
    return folder / name


def test_a_run_of_a_run_still_knows_its_groups(tmp_path):
    first = recipe(tmp_path, "first", "model=meso")
    second = recipe(tmp_path, "second", f"run={first}", "seed=3")
    third = recipe(tmp_path, "third", f"run={second}", "optimizer=sgd", "~augment")
    kept = OmegaConf.load(third / "recipe.yaml")
    assert (kept.choices.model, kept.choices.optimizer) == ("meso", "sgd")
    assert (kept.config.seed, kept.config.optimizer["_target_"], kept.config.augment) == (3, "torch.optim.SGD", None)


@pytest.mark.slow
def test_the_preview_of_a_run_is_of_its_model(tmp_path):
    first = recipe(tmp_path, "first", "model=meso")
    done = run(tmp_path, f"dfd-preview run={first} --cfg job")
    assert "name: meso" in done.stdout, done.stderr[-2000:]
