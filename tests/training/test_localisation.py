"""The objective of localisers: point assignment by hand, losses in closed form, finite for every batch, it learns."""

import numpy as np
import pytest
import torch

from dfd.metrics.proposals import Decoding
from dfd.models.localisation.actionformer import ActionFormer
from dfd.models.localisation.auvire import AuViRe
from dfd.models.localisation.pyramid import points, ranges
from dfd.models.localisation.tridet import TriDet
from dfd.models.localisation.ummaformer import UMMAFormer
from dfd.training.localisation import Localisation, assign, diou_loss, distribution_loss, focal_loss, iou_of
from dfd.training.sequence_scoring import decoded

STREAMS = (("video", 6, 25.0), ("audio", 4, 25.0))
SMALL = {"length": 32, "attribute": True}
SIZES = {"channels": 16, "head_channels": 16, "arch": (1, 1, 2)}
NETWORKS = {
    "actionformer": lambda: ActionFormer(STREAMS, quality=True, bins=4, **SIZES, **SMALL),
    "tridet": lambda: TriDet(STREAMS, mlp_channels=32, boundary_bins=4, window=3, **SIZES, **SMALL),
    "ummaformer": lambda: UMMAFormer(STREAMS, rebuild_channels=4, **SIZES, **SMALL),
    "auvire": lambda: AuViRe(STREAMS, width=6, channels=8, rebuild=1, retain=1, halvings=2, **SMALL),
}


def batch(forged, seed=0, begin=0.0):
    """Rows whose features are shifted where (start, end, stream) in seconds are forged; an empty row is real."""
    generator = torch.Generator().manual_seed(seed)
    count = len(forged)
    streams = {name: torch.randn(count, width, 32, generator=generator) * 0.1 for name, width, _ in STREAMS}
    t = (torch.arange(32) + 0.5) / 25
    for row, stretches in enumerate(forged):
        for start, end, stream in stretches:
            inside = ((t >= start) & (t <= end)).float()
            if stream != 1:
                streams["video"][row] += 2 * inside
            if stream != 0:
                streams["audio"][row] += 2 * inside
    return {
        "streams": streams,
        "mask": torch.ones(count, 32, dtype=torch.bool),
        "label": torch.tensor([int(bool(stretches)) for stretches in forged]),
        "video": torch.arange(count),
        "t": torch.full((count,), begin, dtype=torch.float64),
        "draw": torch.zeros(count, dtype=torch.int64),
        "segments": [torch.tensor([s[:2] for s in each]).reshape(-1, 2) + begin for each in forged],
        "forged": [torch.tensor([s[2] for s in each], dtype=torch.int64) for each in forged],
    }


def test_points_are_assigned_by_range_centre_and_length():
    pyramid = points(16, ranges(2))
    stretches = torch.tensor([[[3.0, 7.0], [2.0, 12.0]]])
    found = assign(pyramid, stretches, torch.tensor([[0, 1]]), radius=1.5)
    fine = found.positive[0, :16].nonzero().flatten().tolist()
    coarse = found.positive[0, 16:].nonzero().flatten().tolist()
    assert fine == [4, 5, 6]  # within 1.5 of the middle of the short one, no end farther than 4
    assert coarse == [3, 4]  # steps 6 and 8: within 3 of the middle of the long one, whose ends are 4 or more away
    assert found.offsets[0, 5].tolist() == [2, 2]
    assert found.offsets[0, 16 + 3].tolist() == [2, 3]  # in strides of 2
    assert found.streams[0, 5].tolist() == [1, 0]
    assert found.streams[0, 16 + 3].tolist() == [0, 1]
    everywhere = assign(pyramid, stretches[:, :1], torch.tensor([[2]]), radius=None)
    assert everywhere.positive[0, :16].nonzero().flatten().tolist() == [4, 5, 6]  # strictly inside
    assert not assign(pyramid, stretches, torch.full((1, 2), -1), 1.5).positive.any()


def test_losses_in_closed_form():
    logit, target = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0])
    p = logit.sigmoid()
    expected = [0.25 * 0.25 * np.log(2), 0.75 * float(p[1]) ** 2 * -np.log(1 - float(p[1]))]
    assert focal_loss(logit, target).tolist() == pytest.approx(expected, rel=1e-5)
    one, two = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 3.0]])
    assert iou_of(one, two).item() == pytest.approx(0.5)
    assert diou_loss(one, two).item() == pytest.approx(0.5 + (1 / 4) ** 2)
    assert diou_loss(torch.zeros(1, 2), torch.zeros(1, 2)).isfinite().all()
    sure = torch.full((1, 2, 4), -30.0)
    sure[:, :, 1] = 30.0
    assert distribution_loss(sure, torch.tensor([[1.0, 1.0]])).item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize("kind", ["mixed", "real", "fake", "one", "invisible"])
def test_the_loss_is_finite_for_every_batch(name, kind):
    forged = {
        "mixed": [[(0.2, 0.6, 2)], [], [(0.1, 0.3, 0), (0.6, 1.1, 1)]],
        "real": [[], []],
        "fake": [[(0.2, 0.6, 0)], [(0.4, 0.5, 1)]],
        "one": [[(0.2, 0.6, 0)]],
        "invisible": [[(0.2, 0.201, 0)], []],  # no point lies within it
    }[kind]
    objective = Localisation(NETWORKS[name](), iou_power=1.0)
    data = batch(forged)
    if kind == "mixed":
        data["mask"][2, 2:] = False
    loss = objective.loss(objective.answer(data), data)
    loss.backward()
    assert loss.isfinite()
    grads = [p.grad for p in objective.network.parameters() if p.grad is not None]
    assert grads
    assert all(grad.isfinite().all() for grad in grads)


def test_real_clips_are_negatives_unless_left_out():
    network = NETWORKS["actionformer"]().eval()
    data = batch([[], []])
    with torch.no_grad():
        assert Localisation(network).terms(network(data["streams"], data["mask"]), data)["score"] > 0
        left_out = Localisation(network, real_negatives=False)
        assert left_out.terms(network(data["streams"], data["mask"]), data)["score"] == 0


def test_the_number_of_positives_is_kept_in_checkpoints():
    objective = Localisation(NETWORKS["actionformer"](), normaliser=100)
    data = batch([[(0.2, 0.9, 2)], []])
    objective.train()
    objective.loss(objective.answer(data), data)
    number = objective.state_dict()["positives"].item()
    assert 90 < number < 100
    objective.eval()
    objective.loss(objective.answer(data), data)
    assert objective.positives.item() == number


@pytest.mark.slow
@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_few_clips_are_learned_by_heart(name):
    torch.manual_seed(0)
    forged = [[(0.2, 0.6, 0)], [(0.5, 1.0, 1)], [(0.1, 0.4, 2), (0.7, 1.1, 0)], []]
    data = batch(forged, begin=3.0)
    objective = Localisation(NETWORKS[name](), normaliser=20)
    optimizer = torch.optim.AdamW(objective.network.parameters(), lr=0.004)
    for _ in range(150):
        optimizer.zero_grad()
        objective.loss(objective.answer(data), data).backward()
        optimizer.step()
    objective.eval()
    with torch.no_grad():
        rows = objective.rows_of(objective.answer(data), data)
    found = decoded(rows, Decoding())
    for video, stretches in enumerate(forged):
        for start, end, _ in stretches:
            mine = np.stack([found.start, found.end], 1)[(found.video == video) & (found.score > 0.3)] - 3
            shared = np.minimum(mine[:, 1], end) - np.maximum(mine[:, 0], start)
            assert (shared / (np.maximum(mine[:, 1], end) - np.minimum(mine[:, 0], start))).max() > 0.6
    assert found.score[found.video == 3].max(initial=0) < 0.3
