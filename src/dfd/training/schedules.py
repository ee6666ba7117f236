"""Learning-rate schedules: the number of steps to a factor of the base rate for each step."""

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def constant(steps: int, warmup: float = 0.0) -> Schedule:
    """Stay at the base rate after a linear warm-up over that share of the steps."""
    return lambda step: _ramp(step, warmup * steps)


def warmup_cosine(steps: int, warmup: float = 0.05, floor: float = 0.01) -> Schedule:
    """Rise linearly over the `warmup` share of the steps, then fall by a half cosine to `floor` times the base rate."""
    start = warmup * steps

    def factor(step: int) -> float:
        if step < start:
            return _ramp(step, start)
        progress = min(1.0, (step - start) / max(1.0, steps - start))
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def warmup_poly(steps: int, warmup: float = 0.0, power: float = 0.9) -> Schedule:
    """Rise linearly, then fall as (1 - progress) ** power to zero."""
    start = warmup * steps

    def factor(step: int) -> float:
        if step < start:
            return _ramp(step, start)
        return (1 - min(1.0, (step - start) / max(1.0, steps - start))) ** power

    return factor


def flat_then_linear(steps: int, flat: float = 0.75) -> Schedule:
    """Stay at the base rate for the `flat` share of the steps, then fall linearly to zero."""
    start = flat * steps
    return lambda step: 1.0 if step <= start else max(0.0, 1 - (step - start) / max(1.0, steps - start))


def dfdc_poly(steps: int, max_iter: int | None = 100_500, power: float = 0.9) -> Schedule:
    """Fall as (1 - step / max_iter) ** power per step, one step behind at the start, as the DFDC winner's code does.

    `max_iter` null follows the length of the run, and like his ends half a per cent above zero.
    """
    length = max_iter or max(2.0, 1.005 * steps)
    return lambda step: max(0.0, 1 - max(step, 1) / length) ** power


def tall_official(
    steps: int, epochs: int = 60, warmup: int = 10, start: float = 0.001, floor: float = 0.01
) -> Schedule:
    """Follow the rate that TALL's code really used: constant within an epoch, one epoch late, never at its peak.

    Its cosine begins at epoch 0 and not where the warm-up ends, so that the rate jumps down a little there.
    """

    def factor(step: int) -> float:
        epoch = max(0, step * epochs // max(1, steps) - 1)
        if epoch < warmup:
            return start + epoch * (1 - start) / warmup
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * epoch / epochs))

    return factor


def _ramp(step: int, length: float) -> float:
    return min(1.0, (step + 1) / (length + 1))
