"""One step of every shipped model and recipe under its own objective: what several processes need of it."""

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from dfd.cli.app import prepare
from dfd.core.build import allowed, build
from dfd.core.configs import config_dir
from dfd.training.scoring import ViewScoring

SIZES = {"hybrid": 64, "vit": 32, "deit": 32, "probe": 32, "vit_autoencoder": 32}
LIGHT = {"model.network.architecture": "tf_efficientnet_b0.ns_jft_in1k"}  # in the place of a B7


def names(group):
    return sorted(path.stem for path in (config_dir() / group).glob("[!_]*.yaml"))


def small(*overrides):
    """Compose a run as the sample scales it down, and smaller still."""
    prepare()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = compose("train", list(overrides))
        changes = {key: value for key, value in cfg.sample.items() if str(key).startswith("model.")}
        changes |= LIGHT if cfg.model.name == "efficientnet_b7" else {}
        if "size" in cfg.model.network and cfg.model.name != "tall":
            changes |= {"model.network.size": SIZES.get(cfg.model.name, 64)}
        for key, value in changes.items():
            OmegaConf.update(cfg, str(key), value)
    return OmegaConf.to_container(cfg.model)


def objective_of(model):
    tree = model["network"] | ({"pretrained": False} if "pretrained" in model["network"] else {})
    if model["name"] == "abnormality":
        tree |= {"base": small("model=unet_scorer")["network"]}
    network = build(tree)
    arguments = {"outlier_weight": 1.0} if model["name"] == "abnormality" else {}
    objective = build(model["objective"], allowed(()), **arguments)(network, optimizer=torch.optim.AdamW)
    objective.log = objective.log_dict = lambda *args, **kwargs: None
    return objective.train()


def batch_for(objective: ViewScoring):
    spec = objective.network.input
    shape = (3, spec.size, spec.size) if spec.kind == "image" else (spec.frames, 3, spec.size, spec.size)
    video = torch.arange(4).repeat_interleave(spec.clips)
    return {"pixels": torch.rand(len(video), *shape), "label": video % 2, "video": video, "t": torch.zeros(len(video))}


@pytest.mark.parametrize("choice", [f"{group}={name}" for group in ("model", "experiment") for name in names(group)])
def test_every_trained_parameter_gets_a_gradient(choice):
    """Processes that train together wait for the gradient of every parameter; one that never comes is an error."""
    torch.manual_seed(0)
    objective = objective_of(small(choice))
    batch = batch_for(objective)
    objective.training_step(batch, 0).backward()
    trained = {name: parameter for name, parameter in objective.named_parameters() if parameter.requires_grad}
    assert trained
    assert [name for name, parameter in trained.items() if parameter.grad is None] == []
    handed_over = [p for group in objective.configure_optimizers().param_groups for p in group["params"]]
    assert {id(p) for p in handed_over} == {id(p) for p in trained.values()}
