"""One class per kind of input: how a batch is answered, which rows are kept of it, and the table they make."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dfd.core import delays
from dfd.core.errors import DfdError
from dfd.core.predictions import tidy
from dfd.core.records import Record, TalkInput
from dfd.core.tensors import Batch, Output, TalkBatch
from dfd.data.ondevice import OnDevice
from dfd.metrics.pooling import pool
from dfd.metrics.ranking import average_precision, roc_auc
from dfd.models.base import Network, Synchroniser
from dfd.training.pair_scoring import PairScoring
from dfd.training.sequence_scoring import SequenceScoring
from dfd.training.trained import Trained


class Rows(NamedTuple):
    """Scores of views as arrays of one length; `video` is a position among the split's records.

    `raw` is the logit of the class fake as the network gave it, which some published numbers rank by.
    """

    video: np.ndarray
    t: np.ndarray
    label: np.ndarray
    score: np.ndarray
    raw: np.ndarray


class ViewScoring(Trained):
    """A detector of views, images or clips: one score per view; validation by the AUC of videos.

    `augment` changes pixels on the device; the other arguments are those of `Trained`.
    """

    needs_both_classes = True

    def __init__(self, *args: Any, augment: OnDevice | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.augment = augment

    def forward(self, pixels: Tensor) -> Output:
        """Call the network."""
        return self.network(pixels)

    def answer(self, batch: Batch) -> Output:
        """Show the network the pixels."""
        return self(batch["pixels"])

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Augment on the device what the workers left to it; seed dropout and the like."""
        if self.augment is not None:
            batch["pixels"] = self.augment(batch["pixels"], batch["draw"])
        super().on_train_batch_start(batch, batch_idx)

    def rows_of(self, output: Output, batch: Batch) -> Rows:
        """Return the scores of a batch, on the CPU."""
        scores = self.network.score(output), output.logits[:, -1]
        score, raw = (values.cpu().double().numpy() for values in scores)
        video, t, label = _columns(batch, "video", "t", "label")
        return Rows(video, t, label, score, raw)

    def judge(self, rows: Rows) -> dict[str, float]:
        """Return AUC and AP over videos."""
        labels, scores = pool(rows.video, rows.label, rows.score)
        auc = roc_auc(labels, scores)
        if np.isnan(auc) and self.needs_both_classes and not self.trainer.sanity_checking:
            kind = "fake" if labels[0] else "real"
            raise DfdError(
                f"the val split holds only {kind} videos: no checkpoint can be chosen by val/auc; split the data again"
            )
        return {"val/auc": auc, "val/ap": average_precision(labels, scores)}

    def table(self, rows: Rows, records: Sequence[Record]) -> pd.DataFrame:
        """Return the prediction table."""
        return prediction_table(rows, records)


class DelayRows(NamedTuple):
    """Windows of videos as arrays of one length; `probability` (rows, delays), `loudness` in dB of full scale."""

    video: np.ndarray
    t: np.ndarray
    probability: np.ndarray
    loudness: np.ndarray


class TalkScoring(Trained):
    """A synchroniser: how probable each delay is in every window; real videos are all that it needs."""

    table_file = "delays.parquet"
    finite = ("t",)

    def answer(self, batch: TalkBatch) -> Output:
        """Show the network the face and the sound under it."""
        return self.network(batch["pixels"], batch["sound"])

    def rows_of(self, output: Output, batch: TalkBatch) -> DelayRows:
        """Return the probabilities of the windows of a batch that lie within their clips, on the CPU."""
        spec, (video, t) = self.network.input, _columns(batch, "video", "t")
        probability = output.logits.float().softmax(-1).cpu().double()
        probability = probability[:, None] if probability.ndim == 2 else probability
        windows = probability.shape[1]
        seen = spec.frames - windows + 1  # frames of a window
        inside = torch.arange(windows) + seen <= batch["length"].cpu()[:, None]
        row, place = (index.numpy() for index in torch.nonzero(inside, as_tuple=True))
        loudness = _loudness(batch["sound"], spec, seen, windows)[inside].numpy()
        # rounded, so that a window that two views share is known for one
        return DelayRows(video[row], (t[row] + place / spec.fps).round(4), probability[inside].numpy(), loudness)

    def table(self, rows: DelayRows, records: Sequence[Record]) -> pd.DataFrame:
        """Return the delay table; its columns stand for `network.delays`."""
        shown = [records[video] for video in rows.video]
        known = {name: [getattr(r, name) for r in shown] for name in ("dataset", "method", "group", "label")}
        table = pd.DataFrame({"video": [r.id for r in shown], **known, "t": rows.t, "loudness": rows.loudness})
        table[delays.delay_columns(rows.probability.shape[1])] = rows.probability
        return delays.tidy(table)


def _loudness(sound: Tensor, spec: TalkInput, frames: int, windows: int) -> Tensor:
    """Return the loudness in dB of the sound under each window of each view, (N, W)."""
    hop = round(spec.sample_rate / spec.fps)
    own = sound[:, spec.margin * hop :].float().cpu()
    power = own.unfold(1, frames * hop, hop)[:, :windows].square().mean(2)
    return 10 * power.clamp(min=1e-10).log10()


class TalkViewScoring(ViewScoring):
    """A detector of talking faces: one score per view; trained on real videos, it needs no fakes to be validated."""

    needs_both_classes = False

    def answer(self, batch: TalkBatch) -> Output:  # type: ignore[override]
        """Show the network the face and the sound under it."""
        return self.network(batch["pixels"], batch["sound"], batch["length"])


SCORING: dict[str, type[Trained]] = {
    "image": ViewScoring,
    "clip": ViewScoring,
    "sequence": SequenceScoring,
    "talk": TalkViewScoring,
    "pair": PairScoring,
}


def scoring_for(network: Network) -> Trained:
    """Return a network behind the loops that score its kind of input, not to be trained."""
    return TalkScoring(network) if isinstance(network, Synchroniser) else SCORING[network.input.kind](network)


def prediction_table(rows: Rows, records: Sequence[Record]) -> pd.DataFrame:
    """Turn rows into a prediction table by looking their videos up among the records of the split."""
    shown = [records[video] for video in rows.video]
    attributes = sorted({name for record in records for name in record.attributes})
    donors = {"donor": [record.donor or record.group for record in shown]} if any(r.donor for r in records) else {}
    return tidy(
        pd.DataFrame(
            {name: [record.attributes.get(name, "unknown") for record in shown] for name in attributes}
            | {
                "video": [record.id for record in shown],
                "dataset": [record.dataset for record in shown],
                "method": [record.method for record in shown],
                "group": [record.group for record in shown],
                "label": rows.label,
                "t": rows.t,
                "score": rows.score,
                "raw": rows.raw,
                "order": rows.video,  # of the dataset's list
            }
            | donors
        )
    )


def _columns(batch: Any, *names: str) -> list[np.ndarray]:
    return [batch[name].cpu().numpy() for name in names]
