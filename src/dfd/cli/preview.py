"""dfd-preview: draw what a network is shown in training, e.g. dfd-preview model=efficientnet data=dfdc augment=dfdc.

Takes what dfd-train takes. Every row is a training video: as it is, then seven times as augmentation makes it.
"""

import sys
from pathlib import Path
from typing import Any

import cv2
from omegaconf import DictConfig, OmegaConf

from dfd.cli.app import command
from dfd.cli.invocation import Invocation
from dfd.cli.recipe import primary
from dfd.cli.sample_banner import scale_down
from dfd.core.build import allowed, build
from dfd.data.preview import preview
from dfd.preprocess.dataset import find_source, prepare_data
from dfd.training.starting import without_weights


def draw(cfg: DictConfig, called: Invocation) -> None:
    """Write the picture beside where the run would be."""
    data_dir, allow = Path(cfg.paths.data_dir), allowed(cfg.plugins)
    source = find_source(OmegaConf.to_container(cfg.data), data_dir)  # type: ignore[arg-type]
    if source.sample and not cfg.run:
        scale_down(cfg, called)
    plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    prepared = prepare_data(plain["data"], data_dir, allow)
    network = build(without_weights(plain["model"]["network"]), allow, "network")
    augment = build(plain["augment"], allow, "augment")
    data = build(plain["data"]["loader"], allow, "loader")(
        prepared.manifest, network.input, augment=augment, seed=cfg.seed
    )
    path = Path(cfg.paths.output_dir) / "previews" / f"{prepared.source.tag}_{cfg.model.name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(preview(data), cv2.COLOR_RGB2BGR))
    sys.stdout.write(f"{path}\n")


main = command("train", draw, primary)

if __name__ == "__main__":
    main()
