"""Fully sharded data parallelism (FSDP2): weights, gradients and optimiser states are split over all devices."""

import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard

BLOCK = 1_000_000  # parameters: a smaller block is not worth a gather of its own


class Sharded(ModelParallelStrategy):
    """FSDP over all devices; a checkpoint is one plain file."""

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Use all devices for data parallelism."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


def shard(network: nn.Module, mesh: DeviceMesh, least: int = BLOCK) -> None:
    """Shard every large block separately, so that only one is gathered at a time, then the rest together."""
    if isinstance(network, FSDPModule):
        return
    network.to(memory_format=torch.contiguous_format)  # the only one that can be sharded
    for block in blocks(network, least):
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)


def blocks(module: nn.Module, least: int = BLOCK) -> list[nn.Module]:
    """Return the innermost members of nn.Sequential and nn.ModuleList with at least `least` parameters."""
    found: list[nn.Module] = []
    for child in module.children():
        inner = blocks(child, least)
        large = sum(parameter.numel() for parameter in child.parameters()) >= least
        found += inner or ([child] if large and isinstance(module, nn.Sequential | nn.ModuleList) else [])
    return found
