"""Localisers: published parameter counts, attention against a dense one, padding that says nothing, any length."""

import pytest
import torch
import torch.nn.functional as F

from dfd.core.errors import DfdError
from dfd.models.localisation.actionformer import ActionFormer
from dfd.models.localisation.auvire import AuViRe
from dfd.models.localisation.candidates import candidates
from dfd.models.localisation.layers import Steps, full_attention, local_attention, sinusoids
from dfd.models.localisation.pyramid import levels_of, points, ranges
from dfd.models.localisation.tridet import TriDet
from dfd.models.localisation.ummaformer import UMMAFormer

RGB, FLOW, SOUND = ("rgb", 2048, 25.0), ("flow", 2048, 25.0), ("byola", 2048, 12.5)
PAIR = (("video", 768, 25.0), ("audio", 768, 25.0))
TINY = (("video", 12, 25.0), ("audio", 8, 25.0))
SMALL = {"length": 64, "attribute": True, "standardise": "clip"}


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def tiny(name, **more):
    """One small network of each kind."""
    options = {**SMALL, **more}
    return {
        "actionformer": lambda: ActionFormer(TINY, channels=16, head_channels=16, arch=(2, 1, 3), **options),
        "tridet": lambda: TriDet(TINY, channels=16, head_channels=16, arch=(2, 1, 3), mlp_channels=32, **options),
        "ummaformer": lambda: UMMAFormer(
            TINY, channels=16, head_channels=16, arch=(2, 1, 3), rebuild_channels=4, **options
        ),
        "auvire": lambda: AuViRe(TINY, width=8, channels=8, rebuild=2, retain=1, halvings=3, **options),
    }[name]()


NAMES = ("actionformer", "tridet", "ummaformer", "auvire")


def shown(rows=3, lengths=(64, 41, 5), seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(64) < torch.tensor(lengths)[:, None]
    streams = {name: torch.randn(rows, width, 64, generator=generator) for name, width, _ in TINY}
    return streams, mask


@pytest.mark.slow
@pytest.mark.parametrize(
    ("streams", "total"), [((RGB, FLOW, SOUND), 49_722_634), ((RGB, FLOW), 45_001_994), ((SOUND,), 40_281_354)]
)
def test_ummaformer_has_the_published_number_of_parameters(streams, total):
    with torch.device("meta"):
        network = UMMAFormer(streams, paper_compat=True)
    assert count(network) == total
    assert len(network.state_dict()) == 608
    if len(streams) == 3:
        parts = {name: count(getattr(network, name)) for name in ("backbone", "neck", "cls_head", "reg_head")}
        assert parts == {"backbone": 19_221_504, "neck": 400_896, "cls_head": 395_009, "reg_head": 395_784}
        assert count(network.interpolator) == 29_309_441
        assert count(network.backbone.hh_branch[4]) == 795_136


@pytest.mark.parametrize(
    ("build", "total", "tensors"),
    [
        (lambda: ActionFormer((("x", 512, 1.0),), length=192), 6_943_497, 229),
        (lambda: ActionFormer((("x", 2048, 1.0),), length=192), 8_123_145, 229),
        (lambda: TriDet((("x", 512, 1.0),), head_channels=512, mlp_channels=2048), 12_811_555, 192),
        (lambda: TriDet((("x", 512, 1.0),)), 5_962_275, 192),
        (lambda: AuViRe(PAIR, paper_compat=True), 12_101_516, 152),
        (lambda: AuViRe(PAIR, rebuild=1, retain=1, halvings=1, paper_compat=True), 8_934_790, 80),
    ],
)
def test_published_numbers_of_parameters(build, total, tensors):
    with torch.device("meta"):
        network = build()
    assert (count(network), len(network.state_dict())) == (total, tensors)


def dense(q, k, v, valid, reach):
    """Attention over all pairs of steps, without what is too far away."""
    scores = torch.einsum("nihd,njhd->nhij", q, k) / q.shape[-1] ** 0.5
    place = torch.arange(q.shape[1])
    near = (place[:, None] - place).abs() <= reach
    scores = scores.masked_fill(~(near & valid[:, None, None]), -torch.inf)
    return torch.einsum("nhij,njhd->nihd", scores.softmax(-1).nan_to_num(), v)


@pytest.mark.parametrize("length", [1, 3, 32, 96, 160, 197])
@pytest.mark.parametrize("reach", [1, 3, 9])
def test_local_attention_is_dense_attention_near_by(length, reach):
    generator = torch.Generator().manual_seed(length)
    q, k, v = (torch.randn(2, length, 4, 8, generator=generator) for _ in range(3))
    valid = torch.arange(length) < torch.tensor([length, max(1, length - 5)])[:, None]
    found = local_attention(q, k, v, Steps(valid), reach)
    expected = dense(q, k, v, valid, reach)
    assert torch.allclose(found[valid], expected[valid], atol=1e-5)
    assert found.isfinite().all()


def test_full_attention_sees_the_video_only():
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 12, 2, 4, generator=generator) for _ in range(3))
    valid = torch.arange(12) < torch.tensor([12, 7])[:, None]
    assert torch.allclose(full_attention(q, k, v, Steps(valid)), dense(q, k, v, valid, 12), atol=1e-5)
    assert full_attention(q, k, v, Steps(torch.zeros_like(valid))).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_beyond_a_video_changes_nothing(name):
    network = tiny(name).eval()
    streams, mask = shown()
    first = network(streams, mask)
    other = {key: torch.where(mask[:, None], value, 7.0) for key, value in streams.items()}
    second = network(other, mask)
    for one, two in zip(first[:3], second[:3]):
        assert torch.allclose(one[first.valid], two[first.valid], atol=1e-5)


@pytest.mark.parametrize("name", ["actionformer", "tridet", "auvire"])
def test_more_padding_changes_nothing(name):
    torch.manual_seed(0)
    short, long = tiny(name), tiny(name, length=128)
    long.load_state_dict(short.state_dict())
    streams, mask = shown()
    wide = {key: F.pad(value, (0, 64)) for key, value in streams.items()}
    first, second = short.eval()(streams, mask), long.eval()(wide, F.pad(mask, (0, 64)))
    assert torch.allclose(first.logits[first.valid], second.logits[second.valid], atol=1e-5)
    assert torch.allclose(first.offsets[first.valid], second.offsets[second.valid], atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns_and_every_point_is_answered(name):
    network = tiny(name, quality=True)
    streams, mask = shown()
    output = network(streams, mask)
    assert output.logits.shape == (3, len(network.points()), 1)
    assert output.offsets.shape[:2] == output.quality.shape == output.valid.shape
    assert (output.offsets >= 0).all()
    terms = [part for part in output if part is not None and part.is_floating_point()]
    sum(part.float().square().sum() for part in terms).backward()
    still = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert still == []


def test_a_distribution_over_strides_gives_offsets():
    network = tiny("actionformer", bins=6)
    output = network(*shown())
    assert output.bins.shape == (3, output.logits.shape[1], 2, 7)
    assert ((output.offsets >= 0) & (output.offsets <= 6)).all()


def test_points_double_their_stride_and_their_reach():
    found = points(8, ranges(3))
    assert found.place.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 2, 4, 6, 0, 4]
    assert found.stride.tolist() == [1] * 8 + [2] * 4 + [4] * 2
    assert found.near.tolist() == [0] * 8 + [4] * 4 + [8] * 2
    assert found.far[-1] > 1000


def test_a_length_that_cannot_be_halved_is_refused():
    with pytest.raises(DfdError, match="multiple of 8"):
        levels_of(torch.ones(1, 20, dtype=torch.bool), 4)
    with pytest.raises(DfdError, match="32"):
        UMMAFormer(TINY, length=48)
    with pytest.raises(DfdError, match="pair"):
        AuViRe(TINY[:1])
    with pytest.raises(DfdError, match="streams"):
        ActionFormer(None)


def test_candidates_are_seconds_of_the_file():
    network = tiny("actionformer", attribute=False)
    streams, mask = shown()
    output = network.eval()(streams, mask)
    size = output.logits.shape[1]
    logits = torch.full((3, size, 1), -20.0)
    logits[1, 10] = 3.0  # the first level: stride 1
    offsets = torch.zeros(3, size, 2)
    offsets[1, 10] = torch.tensor([2.5, 5.5])
    found = candidates(network, output._replace(logits=logits, offsets=offsets), torch.tensor([0.0, 4.0, 0.0]), 0.5)
    assert found.row.tolist() == [1]
    assert (found.start[0], found.end[0]) == pytest.approx((4 + 8 / 25, 4 + 16 / 25))


def test_sinusoids_begin_with_zero_and_one():
    table = sinusoids(5, 16)
    assert table[0, :2].tolist() == [0, 0.25]
