"""What a detector of talking faces found in a file, window by window, as a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dfd.core.text import csv_cell
from dfd.models.base import TalkDetector

DETAILS = ("delays", "expected", "kl", "feature_error", "valid", "offset")


def delay_names(count: int) -> list[str]:
    """Return the columns of delays in frames: delay_-15 to delay_15."""
    return [f"delay_{position - count // 2}" for position in range(count)]


@torch.no_grad()
def listen(
    network: TalkDetector, pixels: torch.Tensor, sound: np.ndarray, length: np.ndarray, t: np.ndarray, details: bool
) -> tuple[np.ndarray, pd.DataFrame | None]:
    """Return the scores of views, and with `details` what was found in each of their windows."""
    heard, own = (torch.from_numpy(values).to(pixels.device) for values in (sound, length))
    output = network(pixels, heard, own)
    score = network.score(output).cpu().double().numpy()
    if not details or not hasattr(output, "kl"):
        return score, None
    found = {name: getattr(output, name).float().cpu().numpy() for name in DETAILS}
    return score, pd.concat([_of_view(found, row, t[row], network.input.fps) for row in range(len(t))])


def _of_view(found: Mapping[str, np.ndarray], row: int, t: float, fps: float) -> pd.DataFrame:
    """Return the windows of one view from the second on: the first is not predicted."""
    steps = np.arange(1, found["delays"].shape[1])
    table = pd.DataFrame({"frame": np.round(t * fps).astype(int) + steps})
    table["time_s"] = (table["frame"] / fps).round(4)
    table["kl"], table["feat_mse"] = found["kl"][row], found["feature_error"][row]
    table["offset"] = int(found["offset"][row])
    delays = pd.DataFrame(found["delays"][row, 1:], columns=delay_names(found["delays"].shape[2]))
    return pd.concat([table, delays], axis=1)[found["valid"][row].astype(bool)]


def in_order(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the windows of a file in order; one that several views share has their mean surprise."""
    table = pd.concat(parts)
    return table.groupby("frame", sort=True).mean().reset_index()


def summary_row(path: Path, verdict: str, score: float, windows: pd.DataFrame) -> dict[str, object]:
    """Return one line of `detection_summary.csv`."""
    delays = [name for name in windows.columns if name.startswith("delay_")]
    mean = windows[delays].mean().to_numpy()
    worst = windows["kl"].idxmax()
    return {
        "file": csv_cell(str(path)),
        "verdict": verdict,
        "score": score,
        "windows": len(windows),
        "offset_frames": float(windows["offset"].median()),
        "mean_delay_frames": float(np.average(np.arange(len(mean)) - len(mean) // 2, weights=mean)),
        "mean_kl": float(windows["kl"].mean()),
        "max_kl": float(windows["kl"].max()),
        "max_kl_time_s": float(windows.loc[worst, "time_s"]),
        "mean_feat_mse": float(windows["feat_mse"].mean()),
    }
