"""Every model configuration at the toy size that stands in its yaml (`model.toy`)."""

from functools import cache

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from dfd.cli.app import prepare
from dfd.core.build import allowed_networks, locate
from dfd.core.configs import config_dir
from dfd.models.base import Detector
from dfd.models.checkpoint import asks

BASE = "unet_scorer"  # what a network that looks at a base looks at here


def names(group):
    return sorted(path.stem for path in (config_dir() / group).glob("[!_]*.yaml"))


@cache
def composed(choice):
    prepare()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", [choice])


def is_detector(choice):
    """Whether a model or a recipe is about a detector of views; other kinds of networks have tests of their own."""
    return issubclass(locate(composed(choice).model.network["_target_"], allowed_networks(())), Detector)


def toy_model(choice):
    """Return the plain `model` node of a model or a recipe, its network scaled down and without pretrained weights."""
    model = OmegaConf.to_container(composed(choice).model)
    assert "toy" in model, f"{choice}: say in its yaml what the tests scale the network down to, as model.toy"
    tree = model["network"] | model["toy"]
    tree |= {"pretrained": False} if "pretrained" in tree else {}
    tree |= {"base": toy_model(f"model={BASE}")["network"]} if asks(tree, "looks_at_base") else {}
    return model | {"network": tree}
