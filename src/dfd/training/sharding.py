"""Weights, gradients and optimiser states shared out over all devices (FSDP2), for networks too large for one."""

import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard

BLOCK = 1_000_000  # parameters: what is smaller is not worth a message of its own


class Sharded(ModelParallelStrategy):
    """Every device holds its share of the weights and sees its share of the data; a checkpoint is one plain file."""

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Take all devices for the data."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


def shard(network: nn.Module, mesh: DeviceMesh, least: int = BLOCK) -> None:
    """Shard every large block by itself, so that only one is whole at a time, then what is left together."""
    if isinstance(network, FSDPModule):
        return
    network.to(memory_format=torch.contiguous_format)  # the only one that can be cut
    for block in blocks(network, least):
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)


def blocks(module: nn.Module, least: int = BLOCK) -> list[nn.Module]:
    """Return the innermost members of sequences that have at least so many parameters."""
    found: list[nn.Module] = []
    for child in module.children():
        inner = blocks(child, least)
        large = sum(parameter.numel() for parameter in child.parameters()) >= least
        found += inner or ([child] if large and isinstance(module, nn.Sequential | nn.ModuleList) else [])
    return found
