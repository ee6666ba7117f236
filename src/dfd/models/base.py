"""The contracts that networks keep: `Network`, and one below it for each kind of system."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dfd.core.errors import DfdError
from dfd.core.records import Input, InputSpec, PairInput, SequenceInput, TalkInput
from dfd.core.tensors import Localised, Output


class Network(nn.Module):
    """A network that names its input, where its weights come from, and what it can do.

    The class attributes answer the questions of everything outside `models/`, which names no network:
    a network of a plugin package answers them as one of ours does.
    """

    is_baseline = False  # reports list its runs as baselines beside others on the same split
    looks_at_base = False  # it is built over a trained run (model.base), which its constructor takes as `base`
    kinds: ClassVar[tuple[str, ...]] = ()  # of inputs that it may take (core/records.py); () may be any
    base_left_out = False  # checkpoints leave its frozen base out, which is fetched again when they are read

    input: Input

    def __init__(self, input: Input, initialised_from: str = "random weights") -> None:
        super().__init__()
        self.input = input
        self.initialised_from = initialised_from

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return next(iter((*self.parameters(), *self.buffers()))).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision in which it takes its input."""
        return next(p.dtype for p in self.parameters() if p.is_floating_point())

    def pixels(self, values: Tensor) -> Tensor:
        """Return uint8 pixels as RGB in [0, 1] in the network's precision, and floating-point ones as they are."""
        return values.float().div_(255).to(self.dtype) if values.dtype == torch.uint8 else values

    def saved_parts(self) -> set[str]:
        """Return the names in `state_dict` that go into a checkpoint.

        A network whose frozen base can be fetched again leaves it out, and sets `base_left_out`; a checkpoint then
        names the base by the hash of its weights.
        """
        return set(self.state_dict())

    @classmethod
    def leaves_base_out(cls, arguments: Mapping[str, Any]) -> bool:
        """Whether checkpoints of a network with these constructor arguments leave its frozen base out."""
        return cls.base_left_out

    def folded(self) -> "Network":
        """Return the network for inference and export, with adapters merged into the layers that they adapt."""
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # what checkpoints leave out is not missing: those weights stay as they are
        if self.base_left_out:
            own = self.state_dict()
            for name in own.keys() - self.saved_parts():
                state_dict.setdefault(prefix + name, own[name])
        super()._load_from_state_dict(state_dict, prefix, *args)


class PixelNetwork(Network):
    """A network that sees pixels and normalises them itself."""

    input: InputSpec | TalkInput
    mean: Tensor
    std: Tensor

    def __init__(self, input: InputSpec | TalkInput, initialised_from: str = "random weights") -> None:
        super().__init__(input, initialised_from)
        self.register_buffer("mean", torch.tensor(input.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(input.std).view(3, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return self.mean.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision in which it takes its input."""
        return self.mean.dtype

    def normalised(self, pixels: Tensor) -> Tensor:
        """Return pixels with zero mean and unit variance, as the pretrained weights expect them."""
        return (pixels - self.mean) / self.std


class Detector(PixelNetwork):
    """A network that turns pixels into logits and knows its own input, normalisation and score.

    A subclass gives `forward_features` (normalised pixels to the exact input of its last linear layer) and
    `forward_head` (that to logits: one column for a sigmoid, two for a softmax over real and fake).
    """

    kinds = ("image", "clip")
    channels_last = False  # whether the maps that `evidence` gives are (N, H, W, C)

    input: InputSpec

    def __init__(self, input: InputSpec, initialised_from: str = "random weights") -> None:
        super().__init__(input, initialised_from)

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Turn normalised pixels into features, one row per view."""
        raise NotImplementedError

    def forward_head(self, features: Tensor) -> Tensor:
        """Turn features into logits."""
        raise NotImplementedError

    def forward(self, pixels: Tensor) -> Output:
        """Normalise, extract features and classify."""
        features = self.forward_features(self.normalised(pixels))
        return Output(self.forward_head(features), features)

    def logits(self, pixels: Tensor) -> Tensor:
        """Return the logits alone; a network whose `forward` computes more (a reconstruction) skips that here."""
        return self(pixels).logits

    def answering(self) -> "Detector":
        """Return the network whose logits say real or fake: a module that judges a base returns the base."""
        return self

    @property
    def evidence(self) -> nn.Module:
        """The last part whose output keeps the picture's spatial layout: explanations are drawn from it."""
        raise DfdError(f"{type(self).__name__} cannot be explained: it names no part that keeps the picture's layout")

    def on_frames(self, maps: Tensor) -> Tensor:
        """Turn maps over what the network laid out (N, H, W) into maps over its frames (N, T, h, w)."""
        return maps.unsqueeze(1)

    def score(self, output: Output) -> Tensor:
        """Return how fake each view looks, (N,); a probability unless a network says otherwise."""
        logits = output.logits.float()
        return logits[:, 0].sigmoid() if logits.shape[1] == 1 else logits.softmax(1)[:, 1]


class Localiser(Network):
    """A network that turns features over time into a judgement of points in time; decoding and NMS stay outside."""

    kinds = ("sequence",)
    input: SequenceInput

    def __init__(self, input: SequenceInput, initialised_from: str = "random weights") -> None:
        super().__init__(input, initialised_from)

    def points(self) -> Tensor:
        """Return, for the P points of all pyramid levels, position and stride in steps of the input's grid, (P, 2)."""
        raise NotImplementedError

    def forward(self, streams: Mapping[str, Tensor], mask: Tensor) -> Localised:
        """Judge streams (N, width, L) whose steps within the video are marked in mask (N, L)."""
        raise NotImplementedError


class Synchroniser(PixelNetwork):
    """A network that says how far sound and lips are apart: one logit per delay of `delays`, in seconds."""

    kinds = ("talk",)
    input: TalkInput
    delays: tuple[float, ...]  # positive where the sound is late

    def __init__(self, input: TalkInput, delays: tuple[float, ...], initialised_from: str = "random weights") -> None:
        super().__init__(input, initialised_from)
        self.delays = delays

    def forward(self, pixels: Tensor, sound: Tensor) -> Output:
        """Judge windows: pixels (N, T, 3, H, W) in [0, 1] and mono sound (N, samples).

        Logits are (N, delays), or (N, W, delays) for the W windows of a view that begin at its first W frames.
        """
        raise NotImplementedError


class TalkDetector(PixelNetwork):
    """A network that judges a talking face by pictures and sound."""

    kinds = ("talk",)
    input: TalkInput

    def __init__(self, input: TalkInput, initialised_from: str = "random weights") -> None:
        super().__init__(input, initialised_from)

    def forward(self, pixels: Tensor, sound: Tensor, length: Tensor | None = None) -> Output:
        """Judge views: pixels (N, T, 3, H, W) in [0, 1], of which `length` (N,) are the clip's own, and their sound."""
        raise NotImplementedError

    def score(self, output: Output) -> Tensor:
        """Return how fake each view looks, (N,); without bounds unless a network says otherwise."""
        return output.logits.float()[:, 0]


class Restorer(Network):
    """A network that turns degraded pictures into clean ones."""

    kinds = ("pair",)
    input: PairInput

    def __init__(self, input: PairInput, initialised_from: str = "random weights") -> None:
        super().__init__(input, initialised_from)

    def forward(self, pixels: Tensor) -> Tensor:
        """Restore RGB in [0, 1], (N, 3, H, W), to pictures of the same size."""
        raise NotImplementedError
