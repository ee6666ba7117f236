"""Which classes and functions a configuration or a checkpoint may build: a slot per kind, each with its contract.

A file that somebody else wrote (a checkpoint, the configuration of a run folder) names what it wants built. It gets
only what is meant to be built there: a network where a network stands, an index where an index stands. A class
qualifies by where it is defined and what it derives from, a function by where it is defined and what it says it
returns, so that a new detector or dataset needs no entry here. A name that a module merely imported does not count.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints

from dfd.core.errors import DfdError, did_you_mean
from dfd.core.records import Record


@dataclass(frozen=True)
class Slot:
    """One kind of thing: `homes` are our packages that define it, `libraries` those of others, `bases` its classes.

    `returns` tells from a return annotation whether a function qualifies; `named`, if given, is its only name.
    """

    what: str
    homes: tuple[str, ...]
    bases: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    returns: Callable[[Any], bool] | None = None
    named: str = ""

    def admits(self, made: Any) -> bool:
        """Whether a class or function keeps this slot's contract."""
        if inspect.isclass(made):
            return any(_dotted(kind) in self.bases for kind in made.__mro__)
        if self.returns is None or not inspect.isfunction(made) or (self.named and made.__name__ != self.named):
            return False
        return self.returns(_returned(made))


def _gives_records(hint: Any) -> bool:
    return Record in get_args(hint)


def _gives_schedule(hint: Any) -> bool:
    return get_origin(hint) is Callable


def _gives_nothing(hint: Any) -> bool:
    return hint is type(None)


MODULE = "torch.nn.modules.module.Module"
SLOTS = {
    "network": Slot("a network (torch.nn.Module)", ("dfd.models",), (MODULE,)),
    "objective": Slot("an objective (LightningModule)", ("dfd.training",), (MODULE,)),
    "index": Slot("a function of records (-> Iterator[Record])", ("dfd.data.datasets",), returns=_gives_records),
    "fetch": Slot("a function fetch(root) -> None", ("dfd.data.datasets",), returns=_gives_nothing, named="fetch"),
    "loader": Slot(
        "a LightningDataModule or a Sampler",
        ("dfd.data",),
        ("pytorch_lightning.core.datamodule.LightningDataModule", "torch.utils.data.sampler.Sampler"),
    ),
    "crops": Slot("crop options", ("dfd.preprocess",), ("dfd.preprocess.crop.CropOptions",)),
    "extractors": Slot(
        "a feature extractor",
        ("dfd.preprocess.features",),
        (
            "dfd.preprocess.features.base.Extractor",
            "dfd.preprocess.features.base.Flow",
            "dfd.preprocess.features.files.FeatureFiles",
        ),
    ),
    "augment": Slot(
        "an augmentation (dfd's Augment, a transform of albumentations or of torchvision.transforms.v2)",
        ("dfd.data",),
        (
            "dfd.data.augment.Augment",
            "dfd.data.ondevice.OnDevice",
            "dfd.data.sequences.SequenceAugment",
            "albumentations.core.transforms_interface.BasicTransform",
            "albumentations.core.composition.BaseCompose",
            "torchvision.transforms.v2._transform.Transform",
        ),
        ("albumentations", "torchvision.transforms.v2"),
    ),
    "optimizer": Slot("an optimiser", ("dfd.training",), ("torch.optim.optimizer.Optimizer",), ("torch.optim",)),
    "scheduler": Slot("a schedule (-> Schedule)", ("dfd.training.schedules",), returns=_gives_schedule),
    "trainer": Slot(
        "a Trainer, Strategy or Profiler",
        ("dfd.training",),
        (
            "pytorch_lightning.trainer.trainer.Trainer",
            "pytorch_lightning.strategies.strategy.Strategy",
            "pytorch_lightning.profilers.profiler.Profiler",
        ),
        ("pytorch_lightning.strategies", "pytorch_lightning.profilers"),
    ),
    "callbacks": Slot(
        "a Callback",
        ("dfd.training",),
        ("pytorch_lightning.callbacks.callback.Callback",),
        ("pytorch_lightning.callbacks",),
    ),
    "logger": Slot(
        "a Logger", ("dfd.training",), ("pytorch_lightning.loggers.logger.Logger",), ("pytorch_lightning.loggers",)
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Allowed:
    """What a tree may build: kinds of things, of our own packages and of the plugins that the user named."""

    plugins: tuple[str, ...] = ()
    slots: tuple[str, ...] = tuple(SLOTS)

    def only(self, slot: str) -> "Allowed":
        """Return the same for one kind of thing."""
        if slot not in self.slots:
            raise DfdError(f"nothing for {slot!r} may be built here, only {', '.join(self.slots)}")
        return Allowed(self.plugins, (slot,))

    def locate(self, path: str) -> Callable[..., Any]:
        """Import the class or function at a dotted path, if one of the slots admits it."""
        if not isinstance(path, str) or not all(part.isidentifier() for part in path.split(".")):
            raise DfdError(f"_target_ {path!r} is not a dotted path to a class or function")
        module_name, _, name = path.rpartition(".")
        slots = [slot for slot in self.slots if self._lives(module_name, SLOTS[slot])]
        private = any(part.startswith("_") for part in path.split("."))
        if not slots or private:
            raise self._refusal(path)
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            raise DfdError(f"cannot import {module_name!r} for _target_ {path}: {error}") from error
        if not hasattr(module, name):
            raise DfdError(f"{module_name} has no {name!r}{did_you_mean(name, dir(module))}")
        made = getattr(module, name)
        if not any(_defined(made, module_name, SLOTS[slot]) and SLOTS[slot].admits(made) for slot in slots):
            raise self._refusal(path)
        return made

    def _lives(self, module: str, slot: Slot) -> bool:
        return any(_within(module, home) for home in (*slot.homes, *slot.libraries, *self.plugins))

    def _refusal(self, path: str) -> DfdError:
        wanted = SLOTS[self.slots[0]] if len(self.slots) == 1 else None
        what = wanted.what if wanted else "what a recipe is made of (network, objective, index, ...)"
        homes = (*wanted.homes, *wanted.libraries) if wanted else ("dfd",)
        return DfdError(
            f"{path} may not be built here: expected {what} defined in {', '.join(homes)}, or in a package of your own "
            "that the command names with plugins=[name]"
        )


def allowed(plugins: Iterable[str]) -> Allowed:
    """Return what a configuration may build, with the packages that the user named beside our own."""
    return Allowed(tuple(str(name) for name in plugins))


def allowed_networks(plugins: Iterable[str]) -> Allowed:
    """Return what a checkpoint may build: networks, ours and those of the user's plugins."""
    return allowed(plugins).only("network")


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _defined(made: Any, module: str, slot: Slot) -> bool:
    """Whether an object is defined where its path says, or by the library that offers it there."""
    where = getattr(made, "__module__", None) or ""
    return where == module or any(_within(module, each) and _within(where, each) for each in slot.libraries)


def _dotted(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _returned(function: Callable[..., Any]) -> Any:
    try:
        return get_type_hints(function).get("return")
    except Exception:  # an annotation that cannot be resolved says nothing
        return None
