"""A restorer behind the loops: how near restored pictures come to the clean ones, and how near degraded ones were."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dfd.core.records import Record
from dfd.core.tensors import PairBatch
from dfd.metrics.images import edge_similarity, psnr, ssim
from dfd.training.trained import Trained

MEASURES = {"psnr": psnr, "ssim": ssim, "edges": edge_similarity}


class PairRows(NamedTuple):
    """How close each view is to its clean picture, as it was degraded (`before`) and restored."""

    video: np.ndarray
    t: np.ndarray
    psnr_before: np.ndarray
    psnr: np.ndarray
    ssim_before: np.ndarray
    ssim: np.ndarray
    edges_before: np.ndarray
    edges: np.ndarray


class PairScoring(Trained):
    """A restorer: rows hold PSNR, SSIM and the similarity of edges of every picture, before and after."""

    pictures = ("degraded", "clean")
    finite = ("psnr",)
    table_file = "restored.parquet"

    def answer(self, batch: PairBatch) -> Tensor:
        """Restore the degraded pictures."""
        restored: Tensor = self.network(batch["degraded"])
        return restored

    def rows_of(self, output: Tensor, batch: PairBatch) -> PairRows:
        """Return how close each picture came, on the CPU."""
        views = [_plain(each) for each in (batch["degraded"], output.clamp(0, 1), batch["clean"])]
        columns: dict[str, list[float]] = {name: [] for name in PairRows._fields[2:]}
        for before, after, clean in zip(*views, strict=True):
            for name, measure in MEASURES.items():
                columns[f"{name}_before"].append(measure(before, clean))
                columns[name].append(measure(after, clean))
        key = (batch["video"].cpu().numpy(), batch["t"].cpu().numpy())
        return PairRows(*key, **{name: np.array(values) for name, values in columns.items()})

    def judge(self, rows: PairRows) -> dict[str, float]:
        """Return the means over all pictures, and what they gained."""
        return {f"val/{name}": value for name, value in means(rows).items()}

    def table(self, rows: PairRows, records: Sequence[Record]) -> pd.DataFrame:
        """Return a row per picture."""
        shown = [records[int(video)] for video in rows.video]
        names = {
            "dataset": [record.dataset for record in shown],
            "video": [record.id for record in shown],
            "method": [record.method for record in shown],
        }
        return pd.DataFrame(rows._asdict()).drop(columns="video").assign(**names)


def means(rows: PairRows) -> dict[str, float]:
    """Return PSNR, SSIM and edge similarity of restored pictures, and how much better they are than degraded ones."""
    found = {name: float(np.mean(getattr(rows, name))) for name in MEASURES}
    return found | {
        f"{name}_gain": value - float(np.mean(getattr(rows, f"{name}_before"))) for name, value in found.items()
    }


def _plain(pictures: Tensor) -> np.ndarray:
    with torch.no_grad():
        return pictures.detach().float().cpu().numpy().transpose(0, 2, 3, 1)
