"""What eval evaluates: a run, and the data that it is shown, as in its own validation."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from dfd.cli import run_folders
from dfd.cli.invocation import Invocation
from dfd.cli.sample_banner import banner
from dfd.core.build import allowed, allowed_networks, check
from dfd.core.errors import DfdError

if TYPE_CHECKING:
    from dfd.models.checkpoint import Loaded
    from dfd.preprocess.dataset import Prepared

log = logging.getLogger("dfd")


@dataclass(frozen=True)
class Subject:
    """The run under evaluation: its network, its folder, and how it was configured, if that is still known."""

    loaded: "Loaded"
    folder: Path
    saved: DictConfig | None

    @classmethod
    def of(cls, cfg: DictConfig) -> "Subject":
        """Load what `run=` names."""
        from dfd.core.run_folder import find_checkpoint, run_of
        from dfd.models.checkpoint import load_network

        checkpoint = find_checkpoint(Path(cfg.run))
        loaded = load_network(checkpoint, allowed_networks(cfg.plugins))
        return cls(loaded, run_of(checkpoint), run_folders.saved_config(checkpoint))


def prepare_for(cfg: DictConfig, subject: Subject, called: Invocation) -> "tuple[Prepared, dict[str, Any]]":
    """Prepare the dataset, cut and shown as in the run's own validation unless the user says otherwise."""
    from dfd.preprocess.dataset import find_source, prepare_data
    from dfd.runs.same_views import shown_as_validated

    data_cfg = _data(cfg, subject, called)
    if data_cfg["name"] in (cfg.roots or {}):
        data_cfg["root"] = cfg.roots[data_cfg["name"]]
    saved, loaded, allow = subject.saved, subject.loaded, allowed(cfg.plugins)
    own: Any = None if saved is None else OmegaConf.to_container(saved.data.loader, resolve=True)
    data_cfg = shown_as_validated(data_cfg, loaded.card, loaded.network.input, own, called.typed)
    data_dir = data_dir_of(cfg, saved, called, data_cfg)
    check(data_cfg, allow, "data")
    source = find_source(data_cfg, data_dir)
    if source.sample:
        log.warning(banner(data_cfg["title"], source, {}))
    return prepare_data(data_cfg, data_dir, allow), data_cfg


def _data(cfg: DictConfig, subject: Subject, called: Invocation) -> dict[str, Any]:
    """Return the data configuration: the user's choice, else that of the run with what the user typed on top."""
    node = cfg.data
    if node.name is None:
        if subject.saved is None:
            raise DfdError(
                f"{subject.loaded.path} stands alone, without its run folder: say what to evaluate on with data=..."
            )
        values = [text.lstrip("+") for text in called.overrides if text.lstrip("+").startswith("data.")]
        node = OmegaConf.merge(subject.saved, OmegaConf.from_dotlist(values)).data
    return OmegaConf.to_container(node, resolve=True)  # type: ignore[return-value]


def data_dir_of(cfg: DictConfig, saved: DictConfig | None, called: Invocation, data: dict[str, Any]) -> Path:
    """Return the folder of datasets: the user's, else whichever of this place's and the run's holds the dataset."""
    from dfd.preprocess.dataset import choose_data_dir

    here = Path(cfg.paths.data_dir)
    if saved is None or any(key.startswith("paths.data_dir") for key in called.typed):
        return here
    return choose_data_dir(data, [here, Path(saved.paths.data_dir)])
