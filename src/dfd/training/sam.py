"""Sharpness-aware minimisation over SGD and AdamW: a step by the gradient at the worst point nearby.

Foret, Kleiner, Mobahi, Neyshabur, ICLR 2021. The optimiser is its own base, so that its state is saved and resumed as
any other's. `training_step` runs twice per step.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import SGD, AdamW, Optimizer


class SharpnessAware(Optimizer):
    """What makes an optimiser sharpness-aware: `rho` is how far it climbs; 0 steps as the base does."""

    needs_whole_batches = True  # both passes must see the same batch: no accumulated gradients, no gradient scaler
    rho: float

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Climb by rho along the gradient, take the gradient there, and step from where it began."""
        if closure is None or self.rho == 0:
            return super().step(closure)
        with torch.enable_grad():
            loss = closure()
        with torch.no_grad():
            found = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
            norm = torch.stack([p.grad.norm() for p in found]).norm()
            before = [p.clone() for p in found]
            for p in found:
                p.add_(self.rho / (norm + 1e-12) * p.grad)
        with torch.enable_grad():
            closure()
        with torch.no_grad():
            for p, value in zip(found, before, strict=True):
                p.copy_(value)
        super().step()
        return loss


class SamSGD(SharpnessAware, SGD):
    """Sharpness-aware SGD."""

    def __init__(self, params: Any, rho: float = 0.05, **options: Any) -> None:
        super().__init__(params, **options)
        self.rho = rho


class SamAdamW(SharpnessAware, AdamW):
    """Sharpness-aware AdamW."""

    def __init__(self, params: Any, rho: float = 0.05, **options: Any) -> None:
        super().__init__(params, **options)
        self.rho = rho
