"""AP and AR of segments: hand-made cases, both protocols against slow oracles, and what real clips and ties change."""

import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.metrics import segments
from dfd.metrics.segments import (
    PROTOCOLS,
    Spans,
    average_precision,
    average_recall,
    challenge_score,
    frame_auc,
    frame_iou,
    frames,
    overlaps,
    scorer,
    true_positives,
    video_auc,
    video_scores,
)


def spans(rows, scored=True):
    """(clip, start, end[, score]) rows as columns."""
    columns = np.array(rows, float).reshape(-1, 4 if scored else 3).T
    clip = columns[0].astype(int)
    return Spans(clip, columns[1], columns[2], columns[3] if scored else None)


def ap(proposals, truth, clips, protocol, threshold=0.5, **options):
    found = overlaps(spans(proposals), spans(truth, scored=False), clips, **options)
    return average_precision(found, true_positives(found, threshold, protocol), protocol)


def ar(proposals, truth, clips, protocol, limit=10):
    return average_recall(overlaps(spans(proposals), spans(truth, scored=False), clips), limit, protocol)


GOLDEN = [
    # one clip, one exact proposal: LAV-DF's open curve has no step before its first point
    ([(0, 1, 2, 0.9)], [(0, 1, 2)], 1, (0.0, 1.0, 1.0)),
    ([(0, 1, 2, 0.9), (0, 1, 2, 0.8), (1, 0, 1, 0.7)], [(0, 1, 2), (1, 0, 1)], 2, (1 / 3, 5 / 6, 5 / 6)),
    # an IoU of exactly 0.5
    ([(0, 1, 3, 0.9), (0, 8, 9, 0.95)], [(0, 1, 2)], 1, (0.0, 0.0, 0.5)),
    # a real clip whose proposal scores above a perfect one
    ([(0, 1, 2, 0.9), (1, 3, 4, 0.95)], [(0, 1, 2)], 2, (0.5, 0.5, 0.5)),
]


@pytest.mark.parametrize(("proposals", "truth", "clips", "expected"), GOLDEN)
def test_golden_precision(proposals, truth, clips, expected):
    for protocol, value in zip(PROTOCOLS, expected):
        assert ap(proposals, truth, clips, protocol) == pytest.approx(value), protocol


def test_a_perfect_proposal_is_recalled_in_both_protocols():
    for protocol in PROTOCOLS:
        assert ar([(0, 1, 2, 0.9)], [(0, 1, 2)], 1, protocol) == 1


def test_an_unsorted_list_is_sorted_unless_its_order_is_kept():
    # two true segments; as submitted, the first takes the better proposal of the second
    proposals = [(0, 0.0, 1.1, 0.2), (0, 0.0, 1.0, 0.9), (1, 0.0, 1.0, 0.5)]
    truth = [(0, 0.0, 1.0), (1, 5.0, 6.0)]
    assert ap(proposals, truth, 2, "lavdf_closed") == pytest.approx(1 / 2)
    assert ap(proposals, truth, 2, "lavdf_closed", preserve_order=True) == pytest.approx(1 / 6)


def test_without_a_true_segment_there_is_no_number():
    for protocol in PROTOCOLS:
        assert np.isnan(ap([(0, 1, 2, 0.9)], [], 1, protocol))
        assert np.isnan(ar([(0, 1, 2, 0.9)], [], 1, protocol))


def test_without_a_proposal_nothing_is_found():
    for protocol in PROTOCOLS:
        assert ap([], [(0, 1, 2)], 1, protocol) == 0
        assert ar([], [(0, 1, 2)], 1, protocol) == 0


def test_a_wrong_name_and_missing_scores_are_refused():
    found = overlaps(spans([(0, 1, 2, 0.9)]), spans([(0, 1, 2)], scored=False), 1)
    with pytest.raises(DfdError, match="lavdf_closed"):
        true_positives(found, 0.5, "anet")
    with pytest.raises(DfdError, match="score"):
        overlaps(spans([(0, 1, 2)], scored=False), spans([(0, 1, 2)], scored=False), 1)


def random_set(clips, per_clip, seed=0, real=0.27):
    """Proposals around true segments, and elsewhere; about a quarter of the clips is real."""
    random = np.random.default_rng(seed)
    truth, proposals = [], []
    for clip in range(clips):
        number = 0 if random.random() < real else random.integers(1, 4)
        starts = np.sort(random.uniform(0, 8, number))
        held = [(clip, start, start + random.uniform(0.2, 1.6)) for start in starts]
        truth += held
        for _ in range(random.integers(max(1, per_clip // 2), per_clip + 1)):
            if held and random.random() < 0.4:
                _, start, end = held[random.integers(len(held))]
                start, end = start + random.normal(0, 0.15), end + random.normal(0, 0.15)
                end = max(end, start + 0.05)
                proposals.append((clip, start, end, random.random() ** 0.5))
            else:
                start = random.uniform(0, 8)
                proposals.append((clip, start, start + random.uniform(0.1, 2), random.random()))
    return proposals, truth


def slow_lavdf(proposals, truth, clips, threshold, closed):
    """Clip by clip and pair by pair; every true segment takes the first proposal that is left."""
    points = []
    for clip in range(clips):
        mine = sorted([p for p in proposals if p[0] == clip], key=lambda p: -p[3])
        taken = set()
        for _, start, end in (t for t in truth if t[0] == clip):
            for place, (_, low, high, _) in enumerate(mine):
                shared = max(0.0, min(end, high) - max(start, low))
                if place not in taken and shared / (max(end, high) - min(start, low)) > threshold:
                    taken.add(place)
                    break
        points += [(p[3], place in taken) for place, p in enumerate(mine)]
    points.sort(key=lambda point: -point[0])
    hits = np.cumsum([hit for _, hit in points])
    recall, precision = hits / len(truth), hits / np.arange(1, len(hits) + 1)
    steps = np.diff(recall, prepend=0.0 if closed else recall[0])
    return sum(step * precision[at:].max() for at, step in enumerate(steps) if step)


def slow_activitynet(proposals, truth, threshold):
    """One proposal after the other takes the best true segment that is left."""
    free = dict(enumerate(truth))
    hits = []
    for clip, low, high, _ in sorted(proposals, key=lambda p: -p[3]):
        best, which = 0.0, None
        for number, (owner, start, end) in free.items():
            shared = max(0.0, min(end, high) - max(start, low))
            value = shared / (end - start + high - low - shared)
            if owner == clip and value >= threshold and value > best:
                best, which = value, number
        hits.append(which is not None)
        free.pop(which, None)
    found = np.cumsum(hits)
    precision = np.append(found / np.arange(1, len(found) + 1), 0)
    recall = np.concatenate([[0], found / len(truth), [1]])
    return sum((recall[at + 1] - recall[at]) * precision[at:].max() for at in range(len(recall) - 1))


def slow_recall(proposals, truth, clips, limit, fixed):
    """AR with `limit` proposals of every clip, or with ActivityNet's share of all proposals."""
    by_clip = [sorted([p for p in proposals if p[0] == clip], key=lambda p: -p[3]) for clip in range(clips)]
    forged = sorted({t[0] for t in truth})
    ratio = 100 * len(forged) / len(proposals)
    cut = {clip: by_clip[clip][: int(len(by_clip[clip]) * ratio)] for clip in forged}
    share = limit / 100 * (100 * len(forged) / sum(map(len, cut.values())))
    total = 0.0
    for threshold in segments.THRESHOLDS:
        for clip, start, end in truth:
            mine = by_clip[clip][:limit] if fixed else cut[clip][: int(len(cut[clip]) * share)]
            values = []
            for _, low, high, _ in mine:
                shared = max(0.0, min(end, high) - max(start, low))
                values.append(shared / (end - start + high - low - shared))
            total += any(v > threshold for v in values) if fixed else any(v >= threshold for v in values)
    return total / len(segments.THRESHOLDS) / len(truth)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_matches_the_slow_way_in_both_protocols(seed):
    proposals, truth = random_set(25, 30, seed)
    for threshold in (0.5, 0.75, 0.95):
        for protocol in ("lavdf", "lavdf_closed"):
            slow = slow_lavdf(proposals, truth, 25, threshold, protocol == "lavdf_closed")
            assert ap(proposals, truth, 25, protocol, threshold) == pytest.approx(slow, abs=1e-12)
        slow = slow_activitynet(proposals, truth, threshold)
        assert ap(proposals, truth, 25, "activitynet", threshold) == pytest.approx(slow, abs=1e-12)
    for limit in (100, 10, 5):
        for protocol in ("lavdf", "activitynet"):
            slow = slow_recall(proposals, truth, 25, limit, protocol == "lavdf")
            assert ar(proposals, truth, 25, protocol, limit) == pytest.approx(slow, abs=1e-12)


def test_the_budget_of_activitynet_follows_the_share_of_real_clips():
    proposals, truth = random_set(60, 100, real=0.5)
    assert ar(proposals, truth, 60, "activitynet", 100) < ar(proposals, truth, 60, "lavdf", 100)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_weights_are_repeated_clips(protocol):
    proposals, truth = random_set(20, 20, seed=3)
    found = overlaps(spans(proposals), spans(truth, scored=False), 20)
    weights = np.random.default_rng(0).integers(0, 3, 20)
    numbers = scorer(found, protocol)(weights)
    places = np.repeat(np.arange(20), weights)
    again = [(new, *row[1:]) for new, old in enumerate(places) for row in proposals if row[0] == old]
    truths = [(new, *row[1:]) for new, old in enumerate(places) for row in truth if row[0] == old]
    repeated = overlaps(spans(again), spans(truths, scored=False), len(places))
    for threshold in (0.5, 0.75):
        hits = true_positives(repeated, threshold, protocol)
        # copies of one proposal tie: their order decides between steps of one weight and single ones
        close = average_precision(repeated, hits, protocol)
        assert numbers[f"ap@{threshold:g}"] == pytest.approx(close, abs=0.02)
    if protocol != "activitynet":  # whose budget is that of the whole set
        assert numbers["ar@10"] == pytest.approx(average_recall(repeated, 10, protocol))


def test_leaving_a_group_out_is_the_set_without_it():
    proposals, truth = random_set(20, 20, seed=4)
    found = overlaps(spans(proposals), spans(truth, scored=False), 20)
    kept = np.arange(20) >= 5
    without = [[row for row in rows if row[0] >= 5] for rows in (proposals, truth)]
    for protocol in PROTOCOLS:
        numbers = scorer(found, protocol, (0.5, 0.75))(kept.astype(float))
        assert numbers["ap@0.5"] == pytest.approx(ap(*without, 20, protocol))
        assert numbers["ap@0.75"] == pytest.approx(ap(*without, 20, protocol, 0.75))


def test_the_challenge_score_is_half_precision_and_half_recall():
    numbers = {"ap@0.5": 0.8, "ap@0.75": 0.6, "ap@0.9": 0.4, "ap@0.95": 0.2}
    numbers |= {"ar@50": 0.9, "ar@30": 0.8, "ar@20": 0.7, "ar@10": 0.6, "ar@5": 0.5, "ar@100": 0.0}
    assert challenge_score(numbers) == pytest.approx((0.5 + 0.7) / 2)


def test_frames_hold_the_best_proposal_over_them():
    proposals = spans([(0, 0.0, 0.5, 0.3), (0, 0.2, 0.4, 0.8), (1, 0.0, 9.0, 0.6)])
    truth = spans([(0, 0.2, 0.4)], scored=False)
    painted = frames(proposals, truth, np.array([1.0, 0.2]), rate=10)
    assert painted.scores.tolist() == [0.3, 0.3, 0.8, 0.8, 0.3, 0, 0, 0, 0, 0, 0.6, 0.6]
    assert painted.labels.tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert frame_auc(painted) == 1
    assert frame_iou(painted, 0.7) == 1
    assert frame_iou(painted, 0.5) == pytest.approx(0.5)


def test_a_clip_is_as_fake_as_its_best_segment():
    proposals = spans([(0, 0, 1, 0.3), (0, 2, 3, 0.9), (2, 0, 1, 0.4)])
    assert video_scores(proposals, 4).tolist() == [0.9, 0, 0.4, 0]
    assert video_auc(proposals, spans([(0, 2, 3)], scored=False), 4) == 1


def test_recall_of_chosen_segments():
    proposals = spans([(0, 0, 1, 0.9)])
    truth = spans([(0, 0, 1), (0, 5, 6)], scored=False)
    found = overlaps(proposals, truth, 1)
    assert average_recall(found, 10, "lavdf", chosen=np.array([True, False])) == 1
    assert average_recall(found, 10, "lavdf", chosen=np.array([False, True])) == 0
