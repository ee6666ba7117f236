"""Parameter groups: with weight decay and without."""

from typing import Any

from torch import nn


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split trainable parameters into those with decay and those without: biases, norms and what a network excludes.

    A network (or a part of it) may exclude parameters by a method `no_weight_decay() -> names`, as timm's do; the
    outermost one holds for everything inside it.
    """
    excepted: set[str] = set()
    spoken_for: list[str] = []
    for prefix, module in network.named_modules():
        if callable(getattr(module, "no_weight_decay", None)) and not prefix.startswith(tuple(spoken_for)):
            names = module.no_weight_decay()
            excepted |= {f"{prefix}.{name}" if prefix else name for name in names}
            spoken_for.append(f"{prefix}." if prefix else "")
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            (plain if parameter.ndim <= 1 or name in excepted else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
