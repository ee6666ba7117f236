"""One step of every shipped model and recipe under its own objective: what several processes need of it."""

import pytest
import torch

from dfd.core.build import allowed, build
from dfd.training.scoring import ViewScoring
from tests.toys import is_detector, names, toy_model

CHOICES = [f"{group}={name}" for group in ("model", "experiment") for name in names(group)]


def objective_of(model):
    network = build(model["network"])
    arguments = {"outlier_weight": 1.0} if network.looks_at_base else {}
    objective = build(model["objective"], allowed(()), **arguments)(network, optimizer=torch.optim.AdamW)
    objective.log = objective.log_dict = lambda *args, **kwargs: None
    return objective.train()


def batch_for(objective: ViewScoring):
    spec = objective.network.input
    video = torch.arange(4).repeat_interleave(spec.clips)
    return {
        "pixels": torch.rand(len(video), *spec.shape),
        "label": video % 2,
        "video": video,
        "t": torch.zeros(len(video)),
    }


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if is_detector(choice)])
def test_every_trained_parameter_gets_a_gradient(choice):
    """Processes that train together wait for the gradient of every parameter; one that never comes is an error."""
    torch.manual_seed(0)
    objective = objective_of(toy_model(choice))
    batch = batch_for(objective)
    objective.training_step(batch, 0).backward()
    trained = {name: parameter for name, parameter in objective.named_parameters() if parameter.requires_grad}
    assert trained
    assert [name for name, parameter in trained.items() if parameter.grad is None] == []
    handed_over = [p for group in objective.configure_optimizers().param_groups for p in group["params"]]
    assert {id(p) for p in handed_over} == {id(p) for p in trained.values()}
