"""How well proposed segments find the forged ones: AP and AR in the two protocols that share these names.

`lavdf` is what LAV-DF's and AV-Deepfake1M's tools compute: an IoU must exceed its threshold, every true segment takes
the first proposal that is left, and the step of the precision-recall curve up to its first point is missing
(`lavdf_closed` has it). `activitynet` is what ActivityNet, ActionFormer and UMMAFormer compute: an IoU must reach its
threshold, every proposal takes the best true segment that is left, and AR's budget is a share of all proposals, so that
AR@100 depends on how many clips are real. Matching happens inside a clip: a resample of clips is a vector of weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import numpy as np

from dfd.core.errors import DfdError
from dfd.metrics.ranking import roc_auc

Protocol = Literal["lavdf", "lavdf_closed", "activitynet"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))  # of the mean that AR is
AP_AT = (0.5, 0.75, 0.9, 0.95)
AR_AT = (100, 50, 30, 20, 10, 5)
BUDGET = 100  # proposals per clip that ActivityNet's AR is scaled to


class Spans(NamedTuple):
    """Segments of many clips, a row each: the number of the clip, start and end in seconds; proposals have a score."""

    clip: np.ndarray
    start: np.ndarray
    end: np.ndarray
    score: np.ndarray | None = None


class Pairs(NamedTuple):
    """Proposals and true segments of one clip that overlap, a row per pair."""

    proposal: np.ndarray
    truth: np.ndarray
    iou: np.ndarray


@dataclass(frozen=True)
class Overlaps:
    """Proposals of all clips by falling score, and every pair with a true segment whose IoU reaches `floor`.

    clip, rank, score: (P,) of every proposal: its clip, its place among the proposals of that clip, its score.
    owner, turn: (G,) of every true segment: its clip, its place among that clip's annotations.
    """

    clips: int
    clip: np.ndarray
    rank: np.ndarray
    score: np.ndarray
    owner: np.ndarray
    turn: np.ndarray
    pairs: Pairs
    floor: float

    @cached_property
    def by_truth(self) -> Pairs:
        """The pairs of each true segment together, in the order of the proposals."""
        return _taken(self.pairs, np.lexsort((self.rank[self.pairs.proposal], self.pairs.truth)))

    @cached_property
    def by_proposal(self) -> Pairs:
        """The pairs of each clip together, in the order of the proposals, the best true segment of each first."""
        proposal, truth, iou = self.pairs
        return _taken(self.pairs, np.lexsort((-truth, -iou, self.rank[proposal], self.clip[proposal])))

    @cached_property
    def proposals_per_clip(self) -> np.ndarray:
        """How many proposals every clip has, (clips,)."""
        return np.bincount(self.clip, minlength=self.clips)


def overlaps(
    proposals: Spans, truth: Spans, clips: int, floor: float = min(THRESHOLDS), preserve_order: bool = False
) -> Overlaps:
    """Sort proposals and pair them with the true segments of their clip.

    With `preserve_order`, the proposals of a clip are matched in the order in which they come, as LAV-DF's tools do,
    which expect them sorted.
    """
    if proposals.score is None:
        raise DfdError("proposals without scores cannot be ranked: give every proposed segment a score")
    submitted = _places(proposals.clip) if preserve_order else None
    order = np.argsort(-np.asarray(proposals.score, float), kind="stable")
    clip, start, end, score = (np.asarray(column)[order] for column in proposals)
    rank = _places(clip) if submitted is None else submitted[order]
    return Overlaps(
        clips=clips,
        clip=clip,
        rank=rank,
        score=score,
        owner=np.asarray(truth.clip),
        turn=_places(np.asarray(truth.clip)),
        pairs=_pairs(Spans(clip, start, end), truth, clips, floor),
        floor=floor,
    )


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return intersection over union of segments (..., 2); 0 where both are empty."""
    shared = np.minimum(first[..., 1], second[..., 1]) - np.maximum(first[..., 0], second[..., 0])
    shared = shared.clip(0)
    union = (first[..., 1] - first[..., 0]) + (second[..., 1] - second[..., 0]) - shared
    return np.divide(shared, union, out=np.zeros_like(shared, float), where=union > 0)


def true_positives(found: Overlaps, threshold: float, protocol: Protocol) -> np.ndarray:
    """Return the places (K,), from the highest score down, of the proposals that hit a true segment of their own."""
    _known(protocol)
    hits = _greedy_by_proposal(found, threshold) if protocol == "activitynet" else _greedy_by_truth(found, threshold)
    return np.sort(hits)


def average_precision(
    found: Overlaps, hits: np.ndarray, protocol: Protocol, weights: np.ndarray | None = None
) -> float:
    """Return the area under the interpolated precision-recall curve of the proposals at the places `hits`.

    `weights` (clips,) say how often each clip counts. NaN where no clip has a true segment.
    """
    if weights is None:
        gains, above, total = np.ones(len(hits)), hits + 1.0, float(len(found.owner))
    else:
        gains, above = weights[found.clip[hits]], np.cumsum(weights[found.clip])[hits]
        total = float(weights[found.owner].sum())
    if total == 0:
        return float("nan")
    counted = gains > 0
    gains, above = gains[counted], above[counted]
    if not len(gains):
        return 0.0
    envelope = np.maximum.accumulate((np.cumsum(gains) / above)[::-1])[::-1]
    # LAV-DF's sum runs over steps between points: a hit at the very top begins the curve and adds nothing
    missing = min(1.0, gains[0]) * envelope[0] if protocol == "lavdf" and above[0] == gains[0] else 0.0
    return float((gains @ envelope - missing) / total)


def budgets(found: Overlaps, limit: int, protocol: Protocol) -> np.ndarray:
    """Return how many proposals of every clip (clips,) AR@`limit` looks at."""
    if protocol != "activitynet":
        return np.full(found.clips, limit)
    held, total = found.proposals_per_clip, len(found.clip)
    forged = np.unique(found.owner)
    if not total or not len(forged):
        return np.zeros(found.clips, int)
    most = max(limit, BUDGET)
    kept = np.minimum((held * (most * float(len(forged)) / total)).astype(int), held)
    used = kept[forged].sum()
    if not used:
        return np.zeros(found.clips, int)
    share = limit / float(most) * (most * float(len(forged)) / used)
    return np.minimum((kept * share).astype(int), kept)


def best_overlaps(found: Overlaps, limit: int, protocol: Protocol) -> np.ndarray:
    """Return the best IoU (G,) that the first proposals of a clip reach with each true segment; 0 below the floor."""
    proposal, truth, value = found.pairs
    used = found.rank[proposal] < budgets(found, limit, protocol)[found.clip[proposal]]
    best = np.zeros(len(found.owner))
    np.maximum.at(best, truth[used], value[used])
    return best


def recalled(best: np.ndarray, protocol: Protocol, thresholds: Sequence[float] = THRESHOLDS) -> np.ndarray:
    """Return the share (G,) of thresholds at which each true segment is found."""
    reached = best[:, None] >= np.array(thresholds) if protocol == "activitynet" else best[:, None] > thresholds
    return reached.mean(1)


def average_recall(
    found: Overlaps, limit: int, protocol: Protocol, weights: np.ndarray | None = None, chosen: np.ndarray | None = None
) -> float:
    """Return the share of true segments that the first `limit` proposals find, meaned over thresholds.

    `weights` (clips,) say how often each clip counts, `chosen` (G,) which true segments are asked for.
    """
    _known(protocol)
    each = np.ones(len(found.owner)) if weights is None else weights[found.owner].astype(float)
    if chosen is not None:
        each = each * chosen
    if not each.sum():
        return float("nan")
    return float(each @ recalled(best_overlaps(found, limit, protocol), protocol) / each.sum())


def scorer(
    found: Overlaps, protocol: Protocol, ap_at: Sequence[float] = AP_AT, ar_at: Sequence[int] = AR_AT
) -> Callable[[np.ndarray | None], dict[str, float]]:
    """Match once; return the function from weights of clips to every number of a protocol.

    The budget of ActivityNet's AR stays that of the whole set when clips are resampled.
    """
    hits = {f"ap@{at:g}": true_positives(found, at, protocol) for at in ap_at}
    shares = {f"ar@{limit}": recalled(best_overlaps(found, limit, protocol), protocol) for limit in ar_at}

    def numbers(weights: np.ndarray | None = None) -> dict[str, float]:
        each = np.ones(len(found.owner)) if weights is None else weights[found.owner]
        total = each.sum()
        precision = {name: average_precision(found, places, protocol, weights) for name, places in hits.items()}
        recall = {name: float(each @ share / total) if total else float("nan") for name, share in shares.items()}
        return precision | recall

    return numbers


def challenge_score(numbers: dict[str, float]) -> float:
    """Return the score of the 1M-Deepfakes challenge: half the mean AP plus half the mean AR, both of `lavdf`."""
    precision = [numbers[f"ap@{at:g}"] for at in (0.5, 0.75, 0.9, 0.95)]
    recall = [numbers[f"ar@{limit}"] for limit in (50, 30, 20, 10, 5)]
    return float(np.mean(precision) / 2 + np.mean(recall) / 2)


def video_scores(proposals: Spans, clips: int) -> np.ndarray:
    """Return the score (clips,) of every clip's best proposal; 0 where it has none."""
    scores = np.zeros(clips)
    np.maximum.at(scores, proposals.clip, np.asarray(proposals.score, float))
    return scores


def video_auc(proposals: Spans, truth: Spans, clips: int) -> float:
    """Return how well the best proposal tells clips with a forged segment from clips without."""
    forged = np.zeros(clips, int)
    forged[truth.clip] = 1
    return float(roc_auc(forged, video_scores(proposals, clips)))


class Frames(NamedTuple):
    """Scores and labels of all clips' frames, in one row; `first` (clips + 1,) says where each clip begins."""

    scores: np.ndarray
    labels: np.ndarray
    first: np.ndarray


def frames(proposals: Spans, truth: Spans, durations: np.ndarray, rate: float = 25.0) -> Frames:
    """Lay segments over frames at a steady rate: a frame has the score of the best proposal that holds its middle."""
    counts = np.maximum(1, np.round(np.asarray(durations, float) * rate)).astype(int)
    first = np.concatenate([[0], np.cumsum(counts)])
    scores, labels = np.zeros(first[-1]), np.zeros(first[-1])
    _paint(labels, first, truth, np.ones(len(truth.clip)), rate)
    _paint(scores, first, proposals, np.asarray(proposals.score, float), rate)
    return Frames(scores, labels.astype(int), first)


def frame_auc(painted: Frames) -> float:
    """Return how well scores tell forged frames from real ones, over all clips."""
    return float(roc_auc(painted.labels, painted.scores))


def frame_iou(painted: Frames, threshold: float = 0.5) -> float:
    """Return shared over joint frames of what is forged and what scores at or above a threshold, over all clips."""
    claimed, forged = painted.scores >= threshold, painted.labels == 1
    joint = (claimed | forged).sum()
    return float((claimed & forged).sum() / joint) if joint else float("nan")


def _known(protocol: str) -> None:
    if protocol not in PROTOCOLS:
        raise DfdError(f"protocol {protocol!r} is not known: choose one of {', '.join(PROTOCOLS)}")


def _places(keys: np.ndarray) -> np.ndarray:
    """Return the place of every row among the rows with its key."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(keys) else np.zeros(0, int)
    lengths = np.diff(np.append(begins, len(keys)))
    places = np.empty(len(keys), int)
    places[order] = np.arange(len(keys)) - np.repeat(begins, lengths)
    return places


def _pairs(proposals: Spans, truth: Spans, clips: int, floor: float) -> Pairs:
    """Return all pairs inside a clip whose IoU reaches the floor."""
    by_clip = np.argsort(truth.clip, kind="stable")
    held = np.bincount(np.asarray(truth.clip, int), minlength=clips)
    begins = np.cumsum(held) - held
    count = held[proposals.clip]
    proposal = np.repeat(np.arange(len(count)), count)
    within = np.arange(len(proposal)) - np.repeat(np.cumsum(count) - count, count)
    chosen = by_clip[np.repeat(begins[proposals.clip], count) + within]
    true = np.stack([np.asarray(truth.start, float)[chosen], np.asarray(truth.end, float)[chosen]], -1)
    given = np.stack([proposals.start[proposal], proposals.end[proposal]], -1).astype(float)
    value = iou(given, true)
    return _taken(Pairs(proposal, chosen, value), value >= floor)


def _taken(pairs: Pairs, at: np.ndarray) -> Pairs:
    return Pairs(*(column[at] for column in pairs))


def _firsts(keys: np.ndarray) -> np.ndarray:
    """Return where each run of equal keys begins."""
    return np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else np.zeros(0, int)


def _greedy_by_truth(found: Overlaps, threshold: float) -> np.ndarray:
    """Give every true segment, in the order of the annotations, the first proposal that none before it has taken."""
    pairs = _taken(found.by_truth, found.by_truth.iou > threshold)
    turns = found.turn[pairs.truth]
    used = np.zeros(len(found.clip), bool)
    for turn in range(int(turns.max()) + 1 if len(turns) else 0):
        now = _taken(pairs, turns == turn)
        now = _taken(now, ~used[now.proposal])
        used[now.proposal[_firsts(now.truth)]] = True
    return np.flatnonzero(used)


def _greedy_by_proposal(found: Overlaps, threshold: float) -> np.ndarray:
    """Give every proposal, by falling score, the best true segment that none before it has taken.

    What a clip has left only shrinks, so its next hit is the first proposal that still overlaps something: a round
    finds one hit in every clip.
    """
    pairs = _taken(found.by_proposal, found.by_proposal.iou >= threshold)
    hits = np.zeros(len(found.clip), bool)
    taken = np.zeros(len(found.owner), bool)
    while len(pairs.proposal):
        first = _firsts(found.clip[pairs.proposal])
        hits[pairs.proposal[first]] = True
        taken[pairs.truth[first]] = True
        pairs = _taken(pairs, ~taken[pairs.truth] & ~hits[pairs.proposal])
    return np.flatnonzero(hits)


def _paint(canvas: np.ndarray, first: np.ndarray, spans: Spans, values: np.ndarray, rate: float) -> None:
    """Raise every frame whose middle a span holds to the span's value; a few million frames at a time."""
    counts = np.diff(first)[spans.clip]
    low = np.clip(np.ceil(np.asarray(spans.start, float) * rate - 0.5), 0, counts).astype(int)
    high = np.clip(np.ceil(np.asarray(spans.end, float) * rate - 0.5), low, counts).astype(int)
    begin, length = first[spans.clip] + low, high - low
    parts = np.searchsorted(np.cumsum(length), np.arange(4_000_000, length.sum(), 4_000_000))
    for rows in np.split(np.arange(len(length)), parts):
        size = length[rows]
        within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        np.maximum.at(canvas, np.repeat(begin[rows], size) + within, np.repeat(values[rows], size))
