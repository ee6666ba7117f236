"""The contract that every detector keeps."""

import torch
from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.core.records import InputSpec
from dfd.core.tensors import Output


class Detector(nn.Module):
    """A network that turns pixels into logits and knows its own input, normalisation and score.

    A subclass gives `forward_features` (pixels to the exact input of its last linear layer) and `forward_head`
    (that to logits: one column for a sigmoid, two for a softmax over real and fake). Pixels come as RGB in [0, 1].
    """

    mean: Tensor
    std: Tensor
    channels_last = False  # whether the maps that `evidence` gives are (N, H, W, C)

    def __init__(self, input: InputSpec, initialised_from: str = "random weights") -> None:
        super().__init__()
        self.input = input
        self.initialised_from = initialised_from
        self.register_buffer("mean", torch.tensor(input.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(input.std).view(3, 1, 1), persistent=False)

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Turn normalised pixels into features, one row per view."""
        raise NotImplementedError

    def forward_head(self, features: Tensor) -> Tensor:
        """Turn features into logits."""
        raise NotImplementedError

    def forward(self, pixels: Tensor) -> Output:
        """Normalise, extract features and classify."""
        features = self.forward_features((pixels - self.mean) / self.std)
        return Output(self.forward_head(features), features)

    @property
    def evidence(self) -> nn.Module:
        """The last part whose output still has the picture's layout: what explanations are drawn from."""
        raise DfdError(f"{type(self).__name__} cannot be explained: it names no part that keeps the picture's layout")

    def on_frames(self, maps: Tensor) -> Tensor:
        """Turn maps over what the network laid out (N, H, W) into maps over its frames (N, T, h, w)."""
        return maps.unsqueeze(1)

    def score(self, output: Output) -> Tensor:
        """Return how fake each view looks, (N,); a probability unless a network says otherwise."""
        logits = output.logits.float()
        return logits[:, 0].sigmoid() if logits.shape[1] == 1 else logits.softmax(1)[:, 1]
