"""Vision Mamba: counts, the scan against a step-by-step loop, both directions, published weights."""

import math

import pytest
import torch
import torch.nn.functional as F

from dfd.core.errors import DfdError
from dfd.models.vim import STATES, Mixer, TallVim, Vim, selective_scan


@pytest.mark.parametrize(
    ("variant", "stride", "parameters"),
    [
        ("tiny", 16, 7_148_008),
        ("small", 16, 25_796_584),
        ("base", 16, 97_598_440),
        ("tiny", 8, 7_250_344),
        ("small", 8, 26_001_256),
    ],
)
def test_counts_of_the_published_networks(variant, stride, parameters):
    with torch.device("meta"):
        network = Vim(variant, logits=1000, stride=stride)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert len(network.state_dict()) == 415
    assert network.middle == {16: 98, 8: 364}[stride]


def loop(u, dt, a, b, c, d):
    """Step by step, as the paper writes it."""
    state, outputs = torch.zeros(*u.shape[:3], a.shape[-1], dtype=u.dtype), []
    for t in range(u.shape[-1]):
        state = (dt[..., t, None] * a).exp() * state + (dt * u)[..., t, None] * b[:, :, None, :, t]
        outputs.append((state * c[:, :, None, :, t]).sum(-1) + d * u[..., t])
    return torch.stack(outputs, -1)


@pytest.fixture
def scanned():
    random = torch.Generator().manual_seed(0)
    n, k, d, length, s = 2, 2, 4, 197, STATES

    def draw(*shape):
        return torch.randn(*shape, generator=random)

    values = [draw(n, k, d, length), draw(n, k, d, length).abs(), -16 * draw(k, d, s).abs(), draw(n, k, s, length),
              draw(n, k, s, length), draw(k, d)]  # fmt: skip
    return [value.requires_grad_() for value in values]


@pytest.mark.parametrize("chunk", [0, 1, 7, 16, 32, 197, 256])
def test_chunks_give_what_the_loop_gives(scanned, chunk):
    expected = loop(*scanned)
    assert (selective_scan(*scanned, chunk) - expected).abs().max() <= 2e-6 * expected.abs().max()
    ours = torch.autograd.grad(selective_scan(*scanned, chunk).square().sum(), scanned)
    theirs = torch.autograd.grad(expected.square().sum(), scanned)
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


def test_known_values_of_the_recurrence():
    one = torch.ones(1, 1, 1, 3)
    y = selective_scan(one, math.log(2) * one, -torch.ones(1, 1, 1), one, one, torch.zeros(1, 1))
    torch.testing.assert_close(y.flatten(), torch.tensor([0.693147, 1.039721, 1.213008]), rtol=0, atol=1e-6)


def test_the_mixer_reads_in_both_directions():
    torch.manual_seed(0)
    mixer, x = Mixer(32, 2).eval(), torch.randn(1, 9, 32)
    changed = x.clone()
    changed[:, 4] += 1
    difference = (mixer(x) - mixer(changed)).abs().sum((0, 2))
    assert (difference > 0).all()  # before and after the token that changed
    with torch.no_grad():  # with both directions alike, reversed input gives reversed output
        for end in ("conv1d", "x_proj", "dt_proj"):
            getattr(mixer, f"{end}_b").load_state_dict(getattr(mixer, end).state_dict())
        mixer.A_b_log.copy_(mixer.A_log)
        mixer.D_b.copy_(mixer.D)
        torch.testing.assert_close(mixer(x.flip(1)).flip(1), mixer(x))


def test_first_step_sizes():
    torch.manual_seed(0)
    mixer = Mixer(64, 2)
    first = F.softplus(mixer.dt_proj.bias)
    assert 0.9e-3 < first.min() < first.max() < 0.11
    assert torch.equal(mixer.dt_proj_b.bias, torch.zeros(128))  # the original's quirk


def test_published_weights_are_loaded_strictly(tmp_path):
    torch.manual_seed(0)
    published = Vim("micro", size=32, patch=8, logits=1000)
    path = tmp_path / "vim.pth"
    torch.save({"model": published.state_dict()}, path)
    network, pixels = Vim("micro", str(path), size=32, patch=8).eval(), torch.rand(1, 3, 32, 32)
    assert network.initialised_from == "file: vim.pth"
    torch.testing.assert_close(network(pixels).features, published.eval()(pixels).features)
    larger = Vim("micro", str(path), size=48, patch=8)
    assert torch.equal(larger.pos_embed[:, larger.middle], published.pos_embed[:, published.middle])

    state = published.state_dict()
    torch.save({name: value for name, value in state.items() if "A_b_log" not in name}, tmp_path / "one.pth")
    with pytest.raises(DfdError, match="reads in one direction"):
        Vim("micro", str(tmp_path / "one.pth"), size=32, patch=8)
    torch.save(state | {"more": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(DfdError, match="also holds more"):
        Vim("micro", str(tmp_path / "more.pth"), size=32, patch=8)
    with pytest.raises(DfdError, match="published file"):
        Vim("micro", True, size=32, patch=8)


def test_frames_of_a_thumbnail_belong_to_their_embedding():
    torch.manual_seed(0)
    network = TallVim("micro", size=64, patch=8, clips=2).eval()
    assert network.input.size == 32
    assert network.owner.view(8, 8)[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    pixels = torch.rand(2, 4, 3, 32, 32)
    assert network(pixels).logits.shape == (2, 2)
    assert not torch.allclose(network(pixels).logits, network(pixels[:, [1, 0, 2, 3]]).logits)
    with pytest.raises(DfdError, match="whole patches"):
        TallVim("micro", size=60, patch=8)
