"""Pictures to whatever logger a run has: TensorBoard, Weights & Biases, MLflow, Comet, or files beside a CSV."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pytorch_lightning.loggers import Logger, TensorBoardLogger


def log_picture(logger: Logger, name: str, picture: np.ndarray, step: int) -> None:
    """Log an RGB picture (H, W, 3) uint8 under a name such as val/curves."""
    experiment: Any = getattr(logger, "experiment", None)
    kind = type(logger).__name__
    if isinstance(logger, TensorBoardLogger):
        experiment.add_image(name, picture, step, dataformats="HWC")
    elif kind == "WandbLogger":
        logger.log_image(name, [picture], step)  # type: ignore[attr-defined]
    elif kind == "MLFlowLogger":
        experiment.log_image(logger.run_id, picture, artifact_file=f"{name}-{step:06d}.png")  # type: ignore[attr-defined]
    elif kind == "CometLogger":
        experiment.log_image(picture, name=name, step=step)
    elif logger.save_dir is not None or hasattr(logger, "log_dir"):
        path = Path(str(getattr(logger, "log_dir", None) or logger.save_dir)) / "figures" / f"{name}-{step:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def side_by_side(pictures: list[np.ndarray], gap: int = 4) -> np.ndarray:
    """Return pictures (3, S, S) of one size as one row (S, W, 3)."""
    space = np.full((pictures[0].shape[1], gap, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture.transpose(1, 2, 0), space)]
    return np.concatenate(parts[:-1], 1)
