"""What the delays and features of real videos do next: the objective of the anomaly detector over a synchroniser."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dfd.core.errors import DfdError
from dfd.data.collate import collate
from dfd.metrics.pooling import pool
from dfd.metrics.ranking import roc_auc
from dfd.models.delays import divergence
from dfd.training.scoring import TalkViewScoring


class PieceRows(NamedTuple):
    """Surprise of pieces of sequences, as arrays of one length."""

    video: np.ndarray
    t: np.ndarray
    label: np.ndarray
    score: np.ndarray


class SequenceAnomaly(TalkViewScoring):
    """Predict the next distribution of delays of real videos, by soft cross-entropy (Feng et al., CVPR 2023, 3.2).

    The frozen synchroniser watches every video once, before the first epoch; what is trained on is what it made of
    them. The people must be others than those that it was trained on.

    Args:
        args: those of `Trained`.
        passes: how often each training video is watched; after the first time with varied sound.
        feature_loss: weight of the loss of the model of features.
        kwargs: those of `Trained`.
    """

    pictures = ()

    def __init__(self, *args: Any, passes: int = 1, feature_loss: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.passes, self.feature_loss = passes, feature_loss

    def setup(self, stage: str) -> None:
        """Check the data, and let the base watch it once."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if stage != "fit" or not hasattr(data, "encode"):
            return
        data.refuse_fakes("what delays do next is learned")
        self._refuse_known(data)
        for split in ("train", "val"):
            data.encode(split, self._watch_all, self.passes if split == "train" else 1)
        features = [
            tape["features"].reshape(-1, tape["features"].shape[-1]) for takes in data.tapes["train"] for tape in takes
        ]
        self.network.feature.pca.fit(torch.from_numpy(np.concatenate(features)))

    def _refuse_known(self, data: Any) -> None:
        """Refuse people that the base has learned from: their delays are better than those of strangers."""
        known = getattr(self.network, "base_manifest", None)
        if known is not None and known == data.manifest.hash and data.train_on == "train":
            raise DfdError(
                "model.base was trained on the train split of this very dataset: train on other people, "
                "data.loader.train_on=val"
            )

    @torch.no_grad()
    def _watch_all(self, dataset: Any) -> list[dict[str, np.ndarray]]:
        """Return what the base makes of every record: its windows in order, each once."""
        device = self.trainer.strategy.root_device
        network = self.network.to(device).eval()
        tapes = []
        for video in range(len(dataset)):
            batch = collate([dataset[video]])
            parts = []
            for row in range(len(batch["t"])):
                pixels = network.pixels(batch["pixels"][row : row + 1].to(device))
                logits, features, _ = network.watch(pixels, batch["sound"][row : row + 1].to(device))
                own = int(batch["length"][row]) - network.base.window + 1
                t = batch["t"][row].numpy() + np.arange(own) / network.input.fps
                parts.append({"logits": logits[0, :own], "features": features[0, :own], "t": torch.from_numpy(t)})
            tapes.append(_in_order(parts))
        network.train()
        return tapes

    def answer(self, batch: Any) -> Any:
        """Predict what comes next in pieces of sequences, or judge views of talking faces."""
        if "logits" not in batch:
            return super().answer(batch)
        return self.network.surprise(batch["logits"], batch["features"], batch["valid"])

    def loss(self, output: Any, batch: Any) -> Tensor:
        """Return the soft cross-entropy of delays and the squared error of features, per step."""
        expected, _, error = output
        counted = batch["valid"][:, 1:]
        soft = divergence(expected, batch["logits"][:, 1:].softmax(-1), "soft_ce")
        return ((soft + self.feature_loss * error) * counted).sum() / counted.sum().clamp(min=1)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Keep the surprise of every piece; the loss is that of real videos."""
        output = self.network.surprise(batch["logits"], batch["features"], batch["valid"])
        counted = batch["valid"][:, 1:]
        surprise = (output[1] + self.network.feature_weight * output[2]) * counted
        score = (surprise.sum(1) / counted.sum(1).clamp(min=1)).cpu().double().numpy()
        video, label = batch["video"].cpu().numpy(), batch["label"].cpu().numpy()
        real = batch["label"] == 0
        if real.any():
            chosen = {name: batch[name][real] for name in ("logits", "valid")}
            loss = self.loss(tuple(part[real] for part in output), chosen)
            self.log("val/loss", loss, sync_dist=True, batch_size=int(real.sum()))
        self._pending.append(PieceRows(video, batch["t"].cpu().numpy(), label, score))

    def judge(self, rows: PieceRows) -> dict[str, float]:  # type: ignore[override]
        """Return the surprise in real videos and, where there are fakes, how well it tells them apart."""
        real = rows.label == 0
        found = {"val/surprise": float(rows.score[real].mean())}
        if real.any() and not real.all():
            found["val/auc"] = roc_auc(*pool(rows.video, rows.label, rows.score))
        return found


def _in_order(parts: list[dict[str, Tensor]]) -> dict[str, np.ndarray]:
    """Join the views of a clip: a window that two of them share is kept once."""
    joined = {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}
    _, first = np.unique(joined["t"].round(4), return_index=True)
    return {name: values[first] for name, values in joined.items()}
