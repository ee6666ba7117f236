"""From candidates to proposals: non-maximum suppression and voting, many clips at once.

Candidates are what a localiser gives at the points of its pyramid: segments in seconds and their scores. A clip's best
candidate is picked, those that overlap it are scored down, and so on; picks then move towards the candidates around
them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from dfd.core.errors import DfdError

Method = Literal["gaussian", "linear", "hard", "bmn", "none"]
CHUNK = 8  # clips at a time: their candidates stay in the cache
AREA = 1e-6  # added to lengths by the original's suppression, so that empty segments divide by something


@dataclass(frozen=True)
class Decoding:
    """How candidates become proposals; the defaults are UMMAFormer's.

    `gaussian` scores down by exp(-IoU^2 / sigma), `linear` by 1 - IoU and `hard` to nothing where the IoU reaches
    `iou`; `bmn` is the Gaussian where the IoU exceeds low + (high - low) * width of the pick in seconds (BMN, BA-TFD,
    AuViRe). Candidates below `min_score` are dropped, before and during suppression; `top` are kept per clip
    beforehand, `limit` afterwards. `voting` is the IoU from which candidates move a pick; 0 for none.
    """

    method: Method = "gaussian"
    sigma: float = 0.75
    iou: float = 0.1
    low: float = 0.1968
    high: float = 0.4123
    min_score: float = 0.001
    top: int = 2000
    limit: int = 100
    voting: float = 0.9

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise DfdError(f"decode.method={self.method!r} is not known: choose one of {', '.join(get_args(Method))}")
        if self.sigma <= 0 or self.limit < 1 or self.top < 1:
            raise DfdError(
                f"decode.sigma={self.sigma}, decode.top={self.top} and decode.limit={self.limit} must be positive"
            )


class Candidates(NamedTuple):
    """Candidates of clips of equal padding: segments (B, N, 2) in seconds and scores (B, N), padded by zeros."""

    segments: np.ndarray
    scores: np.ndarray


class Picks(NamedTuple):
    """The proposals of one clip by falling score: segments (K, 2), scores (K,), and which candidates (K,) they were."""

    segments: np.ndarray
    scores: np.ndarray
    chosen: np.ndarray


def decode(candidates: Candidates, how: Decoding, durations: Sequence[float] | None = None) -> list[Picks]:
    """Turn the candidates of every clip into proposals, cut to [0, duration] where durations are given."""
    segments = np.asarray(candidates.segments, np.float32)
    scores = np.where(np.asarray(candidates.scores) > how.min_score, candidates.scores, 0).astype(np.float32)
    segments, scores, kept = _top(segments, scores, how.top)
    chosen, found = suppress(segments, scores, how)
    picks = []
    for clip in range(len(segments)):
        number = int((found[clip] > 0).sum())
        places = chosen[clip, :number]
        picked = segments[clip][places]
        if how.voting > 0 and number and how.method != "none":
            picked = vote(picked, segments[clip], scores[clip], how.voting)
        if durations is not None:
            picked = picked.clip(0, durations[clip])
        picks.append(Picks(picked, found[clip, :number], kept[clip, places]))
    return picks


def suppress(segments: np.ndarray, scores: np.ndarray, how: Decoding) -> tuple[np.ndarray, np.ndarray]:
    """Return which candidates (B, K) are picked, best first, and their scores (B, K) by then; 0 where none is left."""
    clips, size = scores.shape
    limit = min(how.limit, size)
    if how.method == "none":
        order = np.argsort(-scores, axis=1, kind="stable")[:, :limit]
        return order, np.take_along_axis(scores, order, 1)
    parts = [
        _suppressed(segments[at : at + CHUNK], scores[at : at + CHUNK], limit, how) for at in range(0, clips, CHUNK)
    ]
    chosen, found = zip(*parts) if parts else ((np.zeros((0, limit), int),), (np.zeros((0, limit), np.float32),))
    return np.concatenate(chosen), np.concatenate(found)


def _suppressed(segments: np.ndarray, scores: np.ndarray, limit: int, how: Decoding) -> tuple[np.ndarray, np.ndarray]:
    """Pick and score down, one pick of every clip at a time."""
    start, end = np.ascontiguousarray(segments[..., 0]), np.ascontiguousarray(segments[..., 1])
    area, left, rows = end - start + np.float32(AREA), scores.copy(), np.arange(len(scores))
    chosen, found = np.zeros((len(scores), limit), int), np.zeros((len(scores), limit), np.float32)
    shared, other = np.empty_like(start), np.empty_like(start)
    for step in range(limit):
        best = left.argmax(1)
        top = left[rows, best]
        alive = top >= how.min_score  # scores only fall: a clip whose best is below stays below
        if not alive.any():
            break
        chosen[:, step], found[:, step] = best, np.where(alive, top, 0)
        low, high, size = (column[rows, best][:, None] for column in (start, end, area))
        np.minimum(end, high, out=shared)
        np.maximum(start, low, out=other)
        shared -= other
        np.maximum(shared, 0, out=shared)
        np.subtract(area, shared, out=other)
        other += size
        shared /= other
        left *= _weights(shared, high - low, how)
        left[rows, best] = 0
    return chosen, found


def vote(picked: np.ndarray, segments: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return each pick (K, 2) as the mean, by score and IoU, of the candidates whose IoU reaches the threshold."""
    alive = scores > 0
    # sorted by their start, the candidates that can overlap so much lie in one short range
    order = np.flatnonzero(alive)[np.argsort(segments[alive, 0], kind="stable")]
    others, weights = segments[order].astype(float), scores[order].astype(float)
    length = picked[:, 1] - picked[:, 0]
    reach = np.maximum(length, 0) * (1 - threshold) / threshold + 1e-6
    begin = np.searchsorted(others[:, 0], picked[:, 0] - reach, side="left")
    counts = np.searchsorted(others[:, 0], picked[:, 0] + reach, side="right") - begin
    pick = np.repeat(np.arange(len(picked)), counts)
    other = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(begin, counts)
    shared = np.minimum(picked[pick, 1], others[other, 1]) - np.maximum(picked[pick, 0], others[other, 0])
    shared = shared.clip(0)
    joint = length[pick] + (others[other, 1] - others[other, 0]) - shared
    overlap = np.divide(shared, joint, out=np.zeros_like(shared), where=joint > 0)
    weight = np.where(overlap >= threshold, overlap * weights[other], 0.0)
    total = np.bincount(pick, weight, len(picked))
    moved = np.stack([np.bincount(pick, weight * others[other, side], len(picked)) for side in (0, 1)], -1)
    return np.where(total[:, None] > 0, moved / np.maximum(total, 1e-300)[:, None], picked).astype(picked.dtype)


def _weights(overlap: np.ndarray, width: np.ndarray, how: Decoding) -> np.ndarray:
    """Return what scores are multiplied by, given the IoU (B, N) with a pick of that width (B, 1)."""
    if how.method == "hard":
        return (overlap < how.iou).astype(np.float32)
    if how.method == "linear":
        return np.where(overlap >= how.iou, 1 - overlap, np.float32(1))
    falling = overlap * overlap
    falling *= np.float32(-1 / how.sigma)
    np.exp(falling, out=falling)
    if how.method == "gaussian":
        return falling
    return np.where(overlap > how.low + (how.high - how.low) * width, falling, np.float32(1))


def _top(segments: np.ndarray, scores: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keep the best candidates of every clip, in their order, without columns that no clip needs."""
    size = min(top, int((scores > 0).sum(1).max(initial=0)))
    if size == scores.shape[1]:
        return segments, scores, np.broadcast_to(np.arange(size), scores.shape)
    if size < top:  # none is dropped
        kept = np.argsort(scores <= 0, axis=1, kind="stable")[:, :size]
    else:
        kept = np.sort(np.argsort(-scores, axis=1, kind="stable")[:, :size], axis=1)
    return np.take_along_axis(segments, kept[..., None], 1), np.take_along_axis(scores, kept, 1), kept
