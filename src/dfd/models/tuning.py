"""Which of a backbone's weights learn: all, none, its norms, its biases, or a low-rank change of its attention.

LoRA: Hu et al., ICLR 2022. Tuned layer norms: Yermakov et al. (GenD), WACV 2026. The smallest singular directions:
Yan et al. (Effort), ICML 2025. Written here from the papers; the code of Effort is CC BY-NC and was not used.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dfd.core.errors import DfdError

Tune = Literal["full", "head", "ln", "bias", "lora", "svd"]
Part = Literal["q", "k", "v", "out"]
Rows = tuple[int, int]  # first, and the one after the last
QKV: tuple[Part, ...] = ("q", "k", "v")
# by the last name of a linear layer, where queries, keys and values are not fused
SEPARATE: dict[str, Part] = {"q_proj": "q", "k_proj": "k", "v_proj": "v", "proj": "out"}

_loading: ContextVar[bool] = ContextVar("loading", default=False)


@contextmanager
def loading() -> Iterator[None]:
    """Within it, constructors leave out what is computed from weights: a checkpoint brings it."""
    token = _loading.set(True)
    try:
        yield
    finally:
        _loading.reset(token)


class LowRank(nn.Module):
    """A weight plus (alpha / rank) up @ down on some of its blocks of rows; `up` begins at zero."""

    def __init__(self, weight: Tensor, blocks: Mapping[Part, Rows], rank: int, alpha: float) -> None:
        super().__init__()
        self.blocks, self.scale = dict(blocks), alpha / rank
        self.up, self.down = nn.ParameterDict(), nn.ParameterDict()
        for name, rows in blocks.items():
            self.up[name] = torch.zeros(rows[1] - rows[0], rank)
            self.down[name] = nn.init.kaiming_uniform_(torch.empty(rank, weight.shape[1]), a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight in use."""
        return _changed(weight, {rows: self.scale * self.up[n] @ self.down[n] for n, rows in self.blocks.items()})


class SmallestDirections(nn.Module):
    """A weight whose `rank` smallest singular directions, of every block of rows, learn without constraints.

    The frozen weight stays whole: what the directions were is taken off and what they became is added, so that nothing
    changes until something is learned.
    """

    def __init__(self, weight: Tensor, blocks: Mapping[Part, Rows], rank: int) -> None:
        super().__init__()
        self.blocks = dict(blocks)
        self.u, self.s, self.v = nn.ParameterDict(), nn.ParameterDict(), nn.ParameterDict()
        for name, rows in blocks.items():
            first = self._decomposed(weight[slice(*rows)].detach(), rank)
            for part, value in zip("usv", first, strict=True):
                self.register_buffer(f"{part}0_{name}", value)
                getattr(self, part)[name] = value.clone()

    @staticmethod
    def _decomposed(weight: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
        if _loading.get():
            rows, columns = weight.shape
            return weight.new_zeros(rows, rank), weight.new_zeros(rank), weight.new_zeros(rank, columns)
        u, s, v = torch.linalg.svd(weight.float(), full_matrices=False)
        return u[:, -rank:].contiguous(), s[-rank:].contiguous(), v[-rank:].contiguous()

    def first(self, name: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return the directions of a block as they were decomposed."""
        return tuple(getattr(self, f"{part}0_{name}") for part in "usv")

    def now(self, name: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return the directions of a block as they are."""
        return self.u[name], self.s[name], self.v[name]

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight in use."""
        return _changed(weight, {r: _product(self.now(n)) - _product(self.first(n)) for n, r in self.blocks.items()})

    def penalty(self, weight: Tensor) -> Tensor:
        """Return how far the directions are from orthogonal to the frozen ones, and by how much the energy changed.

        Mean over blocks of ||U U' - I|| / 2 + ||V V' - I|| / 2 + | ||W'||^2 - ||W||^2 |, without the large matrices:
        U's frozen part is orthogonal to its first directions, whose products say everything.
        """
        terms = []
        for name, rows in self.blocks.items():
            (u0, s0, v0), (u, s, v) = self.first(name), self.now(name)
            kept = weight[slice(*rows)].detach() - _product((u0, s0, v0))
            orthogonal = (_off_orthogonal(u0, u) + _off_orthogonal(v0.T, v.T)) / 2
            energy = 2 * (kept * _product((u, s, v))).sum() + ((u.T @ u) * (v @ v.T) * torch.outer(s, s)).sum()
            terms.append(orthogonal + (energy - (s0**2).sum()).abs())
        return torch.stack(terms).mean()


def _product(directions: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    u, s, v = directions
    return (u * s) @ v


def _off_orthogonal(first: Tensor, now: Tensor) -> Tensor:
    """Return ||F F' - I|| for F = [frozen orthonormal columns, now], whose missing columns are `first`."""
    squared = ((now.T @ now) ** 2).sum() + now.shape[1] - 2 * ((first.T @ now) ** 2).sum()
    return (squared.clamp(min=0) + 1e-12).sqrt() - 1e-6  # zero with a finite gradient where nothing has moved


def _changed(weight: Tensor, changes: Mapping[Rows, Tensor]) -> Tensor:
    """Return a weight with something added to some of its blocks of rows."""
    parts, place = [], 0
    for start, stop in sorted(changes):
        parts += [weight[place:start], weight[start:stop] + changes[start, stop].to(weight.dtype)]
        place = stop
    return torch.cat([*parts, weight[place:]])


def tune(
    backbone: nn.Module, how: Tune, rank: int = 8, alpha: float | None = None, adapted: Sequence[Part] = ("q", "v")
) -> None:
    """Let a part of a backbone learn and freeze the rest.

    Args:
        backbone: changed in place.
        how: full, head (nothing of the backbone), ln (layer norms), bias, lora, svd.
        rank: of the change of each matrix (lora, svd).
        alpha: scale of LoRA's change, over the rank; None: the rank.
        adapted: which of q, k, v and out of every attention are changed (lora, svd).
    """
    if how not in get_args(Tune):
        raise DfdError(f"tune={how}: allowed are {', '.join(get_args(Tune))}")
    if how == "full":
        return
    backbone.requires_grad_(False)
    if how == "ln":
        norms = [module for module in backbone.modules() if isinstance(module, nn.LayerNorm)]
        _let_learn(backbone, [parameter for norm in norms for parameter in norm.parameters()], how)
    elif how == "bias":
        _let_learn(backbone, [p for name, p in backbone.named_parameters() if name.rpartition(".")[2] == "bias"], how)
    elif how in ("lora", "svd"):
        for layer, blocks in _attention(backbone, adapted):
            weight: Tensor = layer.weight
            if not 1 <= rank <= min(stop - start for start, stop in blocks.values()):
                raise DfdError(f"rank={rank}: the matrices of this network take 1 to {min(weight.shape)}")
            change = (
                LowRank(weight, blocks, rank, rank if alpha is None else alpha)
                if how == "lora"
                else SmallestDirections(weight, blocks, rank)
            )
            parametrize.register_parametrization(layer, "weight", change)


def _let_learn(backbone: nn.Module, parameters: Sequence[nn.Parameter], how: str) -> None:
    if not parameters:
        raise DfdError(f"tune={how}: {type(backbone).__name__} has no such weights; take another tune= or architecture")
    for parameter in parameters:
        parameter.requires_grad_(True)


def _attention(backbone: nn.Module, adapted: Sequence[Part]) -> list[tuple[nn.Linear, dict[Part, Rows]]]:
    """Return the linear layers of all attentions, with the blocks of rows that are asked for."""
    unknown = set(adapted) - {*QKV, "out"}
    if unknown or not adapted:
        raise DfdError(f"adapted={list(adapted)}: name some of q, k, v, out")
    found = []
    for path, module in backbone.named_modules():
        parent, _, last = path.rpartition(".")
        if not isinstance(module, nn.Linear) or not parent.endswith("attn"):
            continue
        if last == "qkv":
            size = module.out_features // 3
            blocks = {name: (i * size, (i + 1) * size) for i, name in enumerate(QKV) if name in adapted}
        else:
            part = SEPARATE.get(last)
            blocks = {part: (0, module.out_features)} if part is not None and part in adapted else {}
        if blocks:
            found.append((module, blocks))
    if not found:
        raise DfdError(f"{type(backbone).__name__} has no attention whose q, k, v or out could be adapted")
    return found


def frozen_names(module: nn.Module) -> set[str]:
    """Return the names in a module's state that neither learn nor belong to an adapter."""
    kinds = (LowRank, SmallestDirections)
    adapters = tuple(f"{path}." for path, part in module.named_modules() if isinstance(part, kinds))
    learned = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    return {name for name in module.state_dict() if name not in learned and not name.startswith(adapters)}


def adapted_layers(module: nn.Module) -> dict[str, Any]:
    """Return the linear layers whose weight an adapter changes, by name."""
    return {path: part for path, part in module.named_modules() if parametrize.is_parametrized(part, "weight")}


def fold(module: nn.Module) -> None:
    """Merge adapters into the weights that they change, in place."""
    for path, layer in adapted_layers(module).items():  # torch's own removal breaks copies, which share a class
        plain = nn.utils.skip_init(nn.Linear, layer.in_features, layer.out_features, bias=layer.bias is not None)
        plain.weight, plain.bias = nn.Parameter(layer.weight.detach()), layer.bias
        module.set_submodule(path, plain)


def penalty(module: nn.Module) -> Tensor:
    """Return the mean penalty of all layers whose smallest singular directions learn."""
    terms = []
    for layer in adapted_layers(module).values():
        weights = layer.parametrizations["weight"]
        if isinstance(weights[0], SmallestDirections):
            terms.append(weights[0].penalty(weights.original))
    if not terms:
        raise DfdError("a penalty on singular directions needs tune=svd")
    return torch.stack(terms).mean()
