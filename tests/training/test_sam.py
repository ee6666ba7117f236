"""Sharpness-aware steps: a known value, and a stop between two of them."""

import copy

import pytest
import torch

from dfd.training.sam import SamAdamW, SamSGD


def close(parameter, optimizer):
    def closure():
        optimizer.zero_grad()
        loss = (parameter**2).sum()
        loss.backward()
        return loss

    return closure


def test_one_step_on_a_parabola():
    p = torch.tensor([1.0], requires_grad=True)
    optimizer = SamSGD([p], rho=0.05, lr=0.1)
    optimizer.step(close(p, optimizer))
    assert p.item() == pytest.approx(0.79)


def test_without_climbing_it_is_its_base():
    p, q = (torch.tensor([1.0, -2.0], requires_grad=True) for _ in range(2))
    one, other = SamSGD([p], rho=0.0, lr=0.1, momentum=0.9), torch.optim.SGD([q], lr=0.1, momentum=0.9)
    for _ in range(3):
        one.step(close(p, one))
        other.step(close(q, other))
    assert torch.equal(p, q)


@pytest.mark.parametrize("kind", [SamSGD, SamAdamW])
def test_a_stopped_optimiser_goes_on_bit_for_bit(kind):
    options = {"lr": 0.1, **({"momentum": 0.9} if kind is SamSGD else {})}
    p = torch.tensor([1.0, 3.0], requires_grad=True)
    optimizer = kind([p], rho=0.05, **options)
    for _ in range(2):
        optimizer.step(close(p, optimizer))
    q = p.detach().clone().requires_grad_()
    again = kind([q], rho=0.05, **options)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(3):
        optimizer.step(close(p, optimizer))
        again.step(close(q, again))
    assert torch.equal(p, q)
