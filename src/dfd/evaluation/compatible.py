"""Numbers of other code, as that code computes them, beside the right ones, and why they differ."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dfd.evaluation.protocol import Protocol, by_video, limited
from dfd.metrics.pooling import pool_scores
from dfd.metrics.probabilities import are_probabilities
from dfd.metrics.ranking import average_precision, count, eer, roc_auc

NEAREST = "its EER is the FPR nearest to the FNR, at corners of the ROC curve only"
CLIPS_PER_BATCH = 4  # videos, in TALL's released test command


@dataclass(frozen=True)
class Pair:
    """One number as the other code computes it, the right one, and why they differ."""

    name: str
    theirs: float
    ours: float
    why: str


def deepfakebench(table: pd.DataFrame, protocol: Protocol | None = None, clips: bool = False) -> list[Pair]:
    """Return DeepfakeBench's frame and video numbers (its training/metrics/utils.py) beside ours."""
    protocol = protocol or Protocol()
    first, ours = limited(table, Protocol(frames=32, pick="first")), limited(table, protocol)
    labels, scores = (first[name].to_numpy() for name in ("label", "score"))
    right = by_video(ours, protocol)
    true, pooled = right["label"].to_numpy(), right["score"].to_numpy()
    if clips:
        merged = labels, scores
        why = "a clip detector's video AUC is its clip AUC there: clips are not pooled"
    else:
        folder = first["video"].str.rsplit("/", n=1).str[-1]
        _, number = np.unique(folder, return_inverse=True)
        # a name that reals and fakes share becomes real there: its mean label is cut to an integer
        merged = np.floor(np.bincount(number, labels) / np.bincount(number)), pool_scores(number, scores)
        lost = len(right) - number.max() - 1
        why = f"videos are told apart by folder name: {lost} of {len(right)} videos vanish in others of their name"
    rows = ours["label"].to_numpy(), ours["score"].to_numpy()
    same = "the same" if first["t"].equals(ours["t"]) else "the first 32 rows of a video, not those of the protocol"
    return [
        Pair("frame AUC", roc_auc(labels, scores), roc_auc(*rows), same),
        Pair("frame AP", average_precision(labels, scores), average_precision(*rows), same),
        Pair(
            "frame EER",
            nearest_eer(labels, scores),
            eer(*rows),
            NEAREST,
        ),
        Pair("frame acc", float(((scores > 0.5) == labels).mean()), float(((rows[1] >= 0.5) == rows[0]).mean()), same),
        Pair("video AUC", roc_auc(*merged), roc_auc(true, pooled), why),
    ]


def tall(table: pd.DataFrame) -> list[Pair]:
    """Return the numbers of TALL's released test script beside ours; it ranks by one raw logit, column `raw`."""
    probable = are_probabilities(table["score"].to_numpy())
    videos = by_video(table, Protocol(pool="logit_mean" if probable else "mean"))
    right = by_video(table)
    ordered = "order" in videos.columns  # of the dataset's list, which the script goes through
    listed = np.argsort(videos["order"].to_numpy() if ordered else np.arange(len(videos)), kind="stable")
    kept = len(videos) // CLIPS_PER_BATCH * CLIPS_PER_BATCH
    lost = len(videos) - kept
    where = "of the list" if ordered else "by name, since the table does not know the order of the list"
    why = f"the last {lost} of {len(videos)} videos {where} are dropped (drop_last); " if lost else ""
    labels, scores = videos["label"].to_numpy()[listed], videos["score"].to_numpy()[listed]
    if "raw" in table.columns:
        number = table.groupby(["dataset", "video"], sort=True).ngroup().to_numpy()
        ranked = pool_scores(number, table["raw"].to_numpy())[listed]
        why += "ranks by the raw logit of the class fake, not by its margin over real"
    else:
        ranked = scores
        why += "its raw logit is not in the table (column raw): ranked by the mean log-odds"
    return [
        Pair("video AUC", roc_auc(labels[:kept], ranked[:kept]), _auc(right), why),
        Pair("video acc", float(((scores >= 0.5) == labels)[:kept].mean()), _accuracy(right), "argmax of mean logits"),
    ]


def compare(table: pd.DataFrame, protocol: Protocol, clips: bool = False) -> list[Pair]:
    """Return the pairs that a protocol asks for, of all rows."""
    if protocol.compatible == "deepfakebench":
        return deepfakebench(table, protocol, clips)
    return tall(table) if protocol.compatible == "tall" else []


def nearest_eer(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the false positive rate where it is nearest to the false negative rate, as DeepfakeBench computes it.

    Only at the corners of the ROC curve: scikit-learn's `roc_curve` drops points on straight lines by default.
    """
    false, true, _ = count(labels, scores)
    if not false[-1] or not true[-1]:
        return float("nan")
    bends = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
    corners = np.concatenate([[True], bends, [True]])[-len(false) :]
    fpr, tpr = (np.append(0, side[corners]) / side[-1] for side in (false, true))
    return float(fpr[np.argmin(np.abs(1 - tpr - fpr))])


def _auc(videos: pd.DataFrame) -> float:
    return roc_auc(videos["label"].to_numpy(), videos["score"].to_numpy())


def _accuracy(videos: pd.DataFrame) -> float:
    return float(((videos["score"] >= 0.5) == (videos["label"] == 1)).mean())
