"""The three networks of MTCNN (Zhang et al. 2016), with the weights of facenet-pytorch (MIT), which lie beside them."""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).parent / "weights" / "mtcnn.safetensors"


class MtcnnNetwork(nn.Module):
    """A trunk of convolutions, and heads: changes of the box, landmarks (in the last network), chances of a face.

    Args:
        trunk: convolutions, and of all networks but the first a dense layer.
        heads: what is read off the trunk; the last one gives the chances, of no face and of one.
    """

    def __init__(self, trunk: nn.Sequential, heads: list[nn.Module]) -> None:
        super().__init__()
        self.trunk, self.heads = trunk, nn.ModuleList(heads)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Return what every head says of pictures (N, 3, H, W) in [-1, 1]."""
        seen = self.trunk(pixels)
        *others, chance = (head(seen) for head in self.heads)
        return [*others, chance.softmax(1)]


class Columns(nn.Module):
    """Flattens column by column, as the weights have it from MATLAB."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (N, C, H, W) as (N, W * H * C)."""
        return maps.permute(0, 3, 2, 1).flatten(1)


def proposal() -> MtcnnNetwork:
    """Return the network that slides over a picture."""
    trunk = nn.Sequential(*_conv(3, 10, 3), _pool(2), *_conv(10, 16, 3), *_conv(16, 32, 3))
    return _filled(MtcnnNetwork(trunk, [nn.Conv2d(32, 4, 1), nn.Conv2d(32, 2, 1)]), "proposal")


def refinement() -> MtcnnNetwork:
    """Return the network that looks at candidates of 24 pixels."""
    trunk = nn.Sequential(
        *_conv(3, 28, 3), _pool(3), *_conv(28, 48, 3), _pool(3), *_conv(48, 64, 2), Columns(), *_dense(576, 128)
    )
    return _filled(MtcnnNetwork(trunk, [nn.Linear(128, 4), nn.Linear(128, 2)]), "refinement")


def output() -> MtcnnNetwork:
    """Return the network that looks at candidates of 48 pixels."""
    trunk = nn.Sequential(
        *_conv(3, 32, 3), _pool(3), *_conv(32, 64, 3), _pool(3), *_conv(64, 64, 3), _pool(2), *_conv(64, 128, 2),
        Columns(), *_dense(1152, 256),
    )  # fmt: skip
    return _filled(MtcnnNetwork(trunk, [nn.Linear(256, 4), nn.Linear(256, 10), nn.Linear(256, 2)]), "output")


def _conv(before: int, after: int, kernel: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(before, after, kernel), nn.PReLU(after)


def _pool(kernel: int) -> nn.Module:
    return nn.MaxPool2d(kernel, 2, ceil_mode=True)


def _dense(before: int, after: int) -> tuple[nn.Module, nn.Module]:
    return nn.Linear(before, after), nn.PReLU(after)


def _filled(network: MtcnnNetwork, name: str) -> MtcnnNetwork:
    weights = {key.removeprefix(f"{name}."): value for key, value in load_file(WEIGHTS).items() if key.startswith(name)}
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)
