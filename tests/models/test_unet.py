"""The published U-Nets by their numbers, any size, and their weights into ours."""

import pytest
import torch

from dfd.core.errors import DfdError
from dfd.models.unet import RestorationUnet
from dfd.models.unet_weights import import_weights

PUBLISHED = {"features": (64, 128, 256, 512), "bottleneck": 1024, "pool_bottleneck": False, "residual": False}


def test_the_published_numbers():
    full, light = RestorationUnet(**PUBLISHED), RestorationUnet(residual=False)
    assert sum(p.numel() for p in full.parameters()) == 31_037_763
    assert sum(p.numel() for p in light.parameters()) == 1_927_075
    assert len(full.state_dict()) == 118
    assert {name.split(".")[0] for name in full.state_dict()} == {
        "initial", "encoder", "bottleneck", "decoder", "final_conv",
    }  # fmt: skip


@pytest.mark.parametrize("pooled", [True, False])
def test_any_size_and_nothing_changed_at_the_start(pooled):
    network = RestorationUnet((4, 8), 16, pooled, size=32).eval()
    for shape in ((1, 3, 33, 47), (2, 3, 8, 8), (1, 3, 5, 64)):
        pixels = torch.rand(shape)
        assert torch.equal(network(pixels), pixels)


def test_it_learns_to_take_a_blur_away():
    torch.manual_seed(0)
    network = RestorationUnet((8, 16), 32, size=32)
    clean = (torch.rand(4, 3, 8, 8) > 0.5).float().repeat_interleave(4, -1).repeat_interleave(4, -2)
    degraded = torch.nn.functional.avg_pool2d(clean, 5, 1, 2)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        loss = (network(degraded) - clean).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_published_weights_by_their_order(tmp_path):
    torch.manual_seed(1)
    theirs = RestorationUnet(residual=False, size=256).eval()
    for buffer in theirs.buffers():  # statistics of a network that was trained
        if buffer.is_floating_point():
            buffer.add_(torch.rand_like(buffer))
    renamed = {f"module.{k.replace('.up.', '.a.').replace('.conv.', '.b.')}": v for k, v in theirs.state_dict().items()}
    torch.save({"model_state_dict": renamed, "epoch": 3}, tmp_path / "best_model.pth")
    ours = import_weights(tmp_path / "best_model.pth", tmp_path / "run/checkpoints/best.ckpt").eval()
    pixels = torch.rand(1, 3, 40, 24)
    assert torch.equal(ours(pixels), theirs(pixels))
    renamed.popitem()
    torch.save(renamed, tmp_path / "half.pth")
    with pytest.raises(DfdError, match="91 tensors"):
        import_weights(tmp_path / "half.pth", tmp_path / "no.ckpt")
