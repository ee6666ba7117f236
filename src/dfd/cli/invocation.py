"""How a command was called: read from Hydra once, at the door, and handed on as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode


@dataclass(frozen=True)
class Invocation:
    """One call of a command, or one job of a sweep.

    Args:
        overrides: what the user typed, or a sweep's job stands for.
        choices: the choice of every configuration group.
        sweep: folder of the sweep; None outside one.
        job: name of this job's folder in it.
        number: of this job in it.
        launcher: class path of the launcher of the sweep's jobs.
    """

    overrides: tuple[str, ...] = ()
    choices: Mapping[str, str | None] = field(default_factory=dict)
    sweep: Path | None = None
    job: str = ""
    number: int = 0
    launcher: str = ""

    @classmethod
    def current(cls) -> "Invocation":
        """Read Hydra's own configuration."""
        if not HydraConfig.initialized():
            return cls()
        return cls.of(HydraConfig.get())

    @classmethod
    def of(cls, hydra: Any) -> "Invocation":
        """Read Hydra's node of a composed configuration."""
        swept = hydra.mode == RunMode.MULTIRUN
        return cls(
            tuple(hydra.overrides.task),
            dict(hydra.runtime.choices),
            Path(hydra.sweep.dir) if swept else None,
            str(hydra.sweep.subdir) if swept else "",
            int(hydra.job.num) if swept else 0,
            str(hydra.launcher["_target_"]) if swept else "",
        )

    @property
    def parsed(self) -> Sequence[Override]:
        """The overrides, parsed."""
        return OverridesParser.create().parse_overrides(list(self.overrides))

    @property
    def typed(self) -> set[str]:
        """Keys that the user set to a value."""
        return {override.key_or_group.lstrip("+~") for override in self.parsed if not override.is_sweep_override()}

    @property
    def values(self) -> dict[str, Any]:
        """The values that the user set, by key."""
        kept = [override for override in self.parsed if not override.is_sweep_override()]
        return {override.key_or_group.lstrip("+~"): override.value() for override in kept}

    def choice(self, group: str) -> str | None:
        """Return what was chosen of a group."""
        return self.choices.get(group)
