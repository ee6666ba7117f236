"""TALL, held to the numbers of the original."""

import argparse

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dfd.core.build import build
from dfd.core.errors import DfdError
from dfd.models.backbones import stretch_bias_table
from dfd.models.checkpoint import load_network, save_network
from dfd.models.tall import Tall, thumbnail, tile, token_owners
from dfd.models.tall_weights import arguments_of, from_official, load_foreign, read_foreign, to_official
from dfd.training.losses import classification_loss, mean_by_video
from dfd.training.optim import parameter_groups
from dfd.training.profile import flop_counter


@pytest.fixture(scope="module")
def base():
    torch.manual_seed(0)
    return Tall(pretrained=False).eval()


def micro(**arguments):
    torch.manual_seed(0)
    return Tall("micro", pretrained=False, **arguments).eval()


def test_parameters(base):
    assert sum(p.numel() for p in base.parameters()) == 86_920_506
    tables = [p for n, p in base.named_parameters() if n.endswith("relative_position_bias_table")]
    assert len(tables) == 24
    assert sum(p.numel() for p in tables) == 238_264
    assert {tuple(p.shape) for p in tables} == {(729, 4), (729, 8), (729, 16), (169, 32)}


def test_windows_and_shifts(base):
    blocks = [[(b.window_size[0], b.shift_size[0]) for b in stage.blocks] for stage in base.swin.layers]
    assert blocks == [[(14, 0), (14, 7)], [(14, 0), (14, 7)], [(14, 0)] * 18, [(7, 0)] * 2]


def test_drop_path_grows_linearly():
    network = Tall(pretrained=False)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for stage in network.swin.layers for block in stage.blocks]
    assert rates == pytest.approx(list(np.linspace(0, 0.1, 24)))


def test_cost_of_one_thumbnail(base):
    with flop_counter() as counter, torch.no_grad():
        base(torch.rand(1, 4, 3, 112, 112))
    assert counter.get_total_flops() / 1e9 == pytest.approx(32.63, abs=0.01)  # 16.35 G multiply-adds


def test_frames_are_tiled_in_raster_order():
    frames = torch.arange(4.0).view(1, 4, 1, 1, 1).expand(1, 4, 3, 112, 112)
    picture = thumbnail(frames, 2, 2, 224)
    corners = [picture[0, 0, y, x].item() for y, x in ((5, 5), (5, 200), (200, 5), (200, 200))]
    assert corners == [0, 1, 2, 3]


@pytest.mark.parametrize(("side", "rows", "cols"), [(112, 2, 2), (224, 2, 2), (112, 1, 4), (112, 3, 3), (100, 2, 2)])
def test_the_way_up_and_down_is_the_official_one(side, rows, cols):
    frames = torch.randn(2, rows * cols, 3, side, side)
    up = F.interpolate(frames.flatten(0, 1), (224, 224), mode="bilinear", align_corners=False)
    down = F.interpolate(tile(up, 2, rows, cols), (224, 224), mode="bilinear", align_corners=False)
    torch.testing.assert_close(thumbnail(frames, rows, cols, 224), down, atol=1e-6, rtol=0)


def test_the_round_trip_blurs_and_tiling_does_not():
    frames = torch.randn(1, 4, 3, 112, 112)
    assert (thumbnail(frames, 2, 2, 224) - thumbnail(frames, 2, 2, 224, "none")).abs().max() > 0.5
    torch.testing.assert_close(thumbnail(frames, 2, 2, 224, "area"), thumbnail(frames, 2, 2, 224, "none"))


def test_each_token_gets_the_embedding_of_its_frame(base):
    owners = token_owners(56, 2, 2)
    assert [owners[a : a + 28, b : b + 28].unique().tolist() for a in (0, 28) for b in (0, 28)] == [[0], [1], [2], [3]]
    for rows, cols in ((3, 3), (1, 4)):  # where the original leaves frames without one
        assert token_owners(56, rows, cols).unique().tolist() == list(range(rows * cols))


def test_weights_go_to_the_official_names_and_back(base):
    official = to_official(base)
    assert len(official) == 356
    assert sum(name.endswith("relative_position_index") for name in official) == 24
    assert sum(name.endswith("attn_mask") for name in official) == 2
    assert {"layers.0.downsample.reduction.weight", "frame_pos_embed", "head.weight"} <= official.keys()
    assert "layers.3.downsample.reduction.weight" not in official
    back = from_official(official)
    assert back.keys() == base.state_dict().keys()
    assert all(torch.equal(back[key], value) for key, value in base.state_dict().items())


def test_without_frame_embedding_it_is_timms_swin(base):
    import timm

    stock = timm.create_model("swin_base_patch4_window7_224", img_size=224, window_size=14, num_classes=2).eval()
    state = {key.removeprefix("swin."): v for key, v in base.state_dict().items() if key.startswith("swin.")}
    state |= {"head.fc.weight": base.head.weight, "head.fc.bias": base.head.bias}
    stock.load_state_dict(state)
    pixels = torch.randn(1, 4, 3, 112, 112)
    plain = Tall(pretrained=False, frame_embedding=False).eval()
    plain.load_state_dict({key: v for key, v in base.state_dict().items() if key != "frame_embedding"})
    with torch.no_grad():
        ours = plain.forward_head(plain.forward_features(pixels))
        torch.testing.assert_close(ours, stock(thumbnail(pixels, 2, 2, 224)), atol=1e-5, rtol=0)


def test_bias_tables_are_stretched_bilinearly():
    offset = (torch.arange(13) - 6).abs().float()
    table = offset[None, :].expand(13, 13).reshape(169, 1)
    stretched = stretch_bias_table(table, 27 * 27).view(27, 27)[13]
    assert stretched[13:18].tolist() == pytest.approx([0, 0.48, 0.96, 1.44, 1.93], abs=0.01)


def imagenet_file(tmp_path, classes=10):
    """Weights in the layout of the original Swin files, of the smallest Swin that there is a file of."""
    import timm

    torch.manual_seed(1)
    stock = timm.create_model("swin_tiny_patch4_window7_224", num_classes=classes)
    state = {}
    for key, value in stock.state_dict().items():
        for stage in (1, 2, 3):
            key = key.replace(f"layers.{stage}.downsample", f"layers.{stage - 1}.downsample")
        state[key.replace("head.fc.", "head.")] = value
    for name, module in stock.named_modules():
        if hasattr(module, "relative_position_index"):
            state[f"{name}.relative_position_index"] = module.relative_position_index
    torch.save({"model": state}, tmp_path / "swin.pth")
    return tmp_path / "swin.pth", stock


@pytest.mark.parametrize("bias_resize", ["bilinear", "timm"])
def test_imagenet_weights_of_the_original_layout(tmp_path, bias_resize):
    path, stock = imagenet_file(tmp_path)
    network = Tall("tiny", pretrained=str(path), bias_resize=bias_resize)
    assert network.initialised_from == "file: swin.pth"
    own, theirs = network.swin.state_dict(), stock.state_dict()
    assert torch.equal(own["layers.2.downsample.reduction.weight"], theirs["layers.2.downsample.reduction.weight"])
    table = "layers.1.blocks.0.attn.relative_position_bias_table"
    same = torch.allclose(own[table], stretch_bias_table(theirs[table], 729))
    assert same == (bias_resize == "bilinear")


def test_a_file_that_lacks_a_weight_is_refused(tmp_path):
    path, _ = imagenet_file(tmp_path)
    state = torch.load(path)["model"]
    state.pop("layers.1.blocks.0.attn.qkv.weight")
    torch.save({"model": state}, path)
    with pytest.raises(DfdError, match=r"layers\.1\.blocks\.0\.attn\.qkv\.weight"):
        Tall("tiny", pretrained=str(path))


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(2)
    return Tall("tiny", pretrained=False).eval()


def test_an_official_checkpoint_is_imported_safely(tmp_path, tiny):
    container = {"model": to_official(tiny), "epoch": 3, "args": argparse.Namespace(lr=1.5e-5), "max_accuracy": 0.9}
    torch.save(container, tmp_path / "official.pth")
    foreign = read_foreign(tmp_path / "official.pth")
    assert foreign.arguments["variant"] == "tiny"
    assert (foreign.arguments["window"], foreign.arguments["frames"]) == (14, 4)
    tree = {"_target_": "dfd.models.tall.Tall", **foreign.arguments}
    network = build(tree)
    load_foreign(network, foreign)
    save_network(tmp_path / "ours.ckpt", network, tree, model="tall")
    loaded = load_network(tmp_path / "ours.ckpt")
    assert loaded.card.initialised_from == "TALL4Deepfake: official.pth"
    pixels = torch.rand(1, 4, 3, 112, 112)
    with torch.no_grad():
        torch.testing.assert_close(loaded.network(pixels).logits, tiny(pixels).logits)


def test_a_checkpoint_of_deepfakebench(tmp_path, tiny):
    torch.save({f"model.{key}": value for key, value in to_official(tiny).items()}, tmp_path / "tall.pth")
    foreign = read_foreign(tmp_path / "tall.pth")
    network = Tall(**foreign.arguments)
    load_foreign(network, foreign)
    assert (network.input.size, network.input.mean) == (224, (0.485, 0.456, 0.406))  # as its tall.yaml says


def test_foreign_weights_that_do_not_fit_are_listed(tiny):
    official = to_official(tiny)
    official.pop("norm.bias")
    official["neck.weight"] = torch.zeros(3)
    from dfd.models.tall_weights import Foreign

    with pytest.raises(DfdError, match=r"missing swin\.norm\.bias; unexpected swin\.neck\.weight"):
        load_foreign(Tall("tiny", pretrained=False), Foreign(official, {}, "mine"))


def test_a_file_of_something_else_says_what_it_holds(tmp_path):
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(DfdError, match=r"does not hold a TALL.*conv\.weight"):
        read_foreign(tmp_path / "x.pth")
    (tmp_path / "y.pth").write_bytes(b"PK\x03\x04broken")
    with pytest.raises(DfdError, match="cannot be read as weights"):
        read_foreign(tmp_path / "y.pth")


def test_official_parameter_groups():
    groups = parameter_groups(Tall(pretrained=False, decay_bias_tables=True), 1e-5)
    assert [len(group["params"]) for group in groups] == [125, 205]
    assert [group["weight_decay"] for group in groups] == [1e-5, 0.0]
    assert [len(g["params"]) for g in parameter_groups(Tall(pretrained=False), 1e-5)] == [101, 229]


def test_the_loss_is_of_videos_and_blind_to_the_order_of_clips():
    logits, video = torch.randn(16, 2), torch.arange(2).repeat_interleave(8)
    label = torch.tensor([0, 1])
    mean, _ = mean_by_video(logits, video)
    assert mean.shape == (2, 2)
    expected = F.cross_entropy(logits.view(2, 8, 2).mean(1), label, label_smoothing=0.1)
    torch.testing.assert_close(classification_loss(mean, label, label_smoothing=0.1), expected)
    order = torch.cat([torch.randperm(8), 8 + torch.randperm(8)])
    torch.testing.assert_close(mean_by_video(logits[order], video[order])[0], mean)


def test_the_order_of_frames_matters():
    network, frames = micro(), torch.rand(1, 4, 3, 112, 112)
    with torch.no_grad():
        network.frame_embedding.normal_()
        assert (network(frames).logits - network(frames[:, [1, 0, 3, 2]]).logits).abs().max() > 1e-5
        network.frame_embedding.zero_()  # bias tables and borders still know where a frame stands
        assert (network(frames).logits - network(frames[:, [1, 0, 3, 2]]).logits).abs().max() > 1e-7


def test_the_cached_bias_follows_what_a_fused_optimiser_and_averaging_do():
    """Neither tells that it changes a weight."""
    network, frames = micro(), torch.rand(2, 4, 3, 112, 112)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.3, fused=True)
    with torch.inference_mode():
        network.eval()(frames)
    network.train()(frames).logits.sum().backward()
    optimizer.step()
    fresh = micro()
    fresh.load_state_dict(network.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(network.eval()(frames).logits, fresh.eval()(frames).logits)


def test_evaluation_is_deterministic_and_its_cached_bias_follows_the_weights():
    network, frames = micro(), torch.rand(2, 4, 3, 112, 112)
    with torch.inference_mode():
        first = network(frames).logits
        assert torch.equal(first, network(frames).logits)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("relative_position_bias_table"):
                parameter.add_(torch.randn_like(parameter))
    with torch.inference_mode():
        changed = network(frames).logits
    fresh = micro()
    fresh.load_state_dict(network.state_dict())
    torch.testing.assert_close(changed, fresh(frames).logits)
    assert (changed - first).abs().max() > 1e-4


@pytest.mark.parametrize("variant", ["tiny", "small", "base", "large"])
def test_every_size_has_imagenet_22k_weights(variant):
    import timm

    from dfd.models.tall import SWINS

    assert timm.get_pretrained_cfg(SWINS[variant][0]).tag == "ms_in22k"


@pytest.mark.parametrize(("frames", "rows", "padding"), [(9, 3, False), (4, 1, False), (6, 2, False), (5, 2, True)])
def test_other_layouts(frames, rows, padding):
    network = micro(frames=frames, rows=rows, padding=padding)
    assert network(torch.rand(2, frames, 3, 112, 112)).logits.shape == (2, 2)
    maps = network.on_frames(torch.rand(2, 2 * network.rows, 2 * network.cols))
    assert maps.shape == (2, frames, 2, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frames": 5}, "lays 5 frames out in 2 rows: frames must be a multiple of rows"),
        ({"window": 12}, "window=12 does not divide the 28 x 28 tokens of stage 1"),
        ({"size": 225}, "patches of 8"),
        ({"resize": "none", "frame_size": 100}, r"200 x 200, the thumbnail has 224 x 224"),
        ({"resize": "area", "rows": 3, "frames": 9, "window": 28}, "must be a multiple of 3, 3"),
        ({"variant": "huge"}, "no variant 'huge'"),
    ],
)
def test_what_does_not_fit_is_said(arguments, message):
    with pytest.raises(DfdError, match=message):
        Tall(**{"variant": "micro", "pretrained": False} | arguments)


def test_reasoning_starts_as_plain_tall_and_learns():
    plain, reasoned = micro(), micro(reasoning=4)
    reasoned.load_state_dict(plain.state_dict() | {
        key: value for key, value in reasoned.state_dict().items() if key.startswith("reasoning.")
    })  # fmt: skip
    frames = torch.rand(2, 4, 3, 112, 112)
    output = reasoned(frames)
    torch.testing.assert_close(output.logits, plain(frames).logits)
    assert output.nodes.shape == (2, 4, 4, 32)
    output.logits.sum().backward()
    assert reasoned.reasoning.expand.weight.grad.abs().max() > 0


def test_the_arguments_of_official_weights_come_from_their_shapes(base, tmp_path):
    wanted = {"variant": "base", "pretrained": False, "window": 14, "frames": 4, "frame_embedding": True, "logits": 2}
    assert arguments_of(to_official(base), tmp_path) == wanted


def test_checkpointing_changes_memory_and_nothing_else():
    frames = torch.rand(1, 4, 3, 112, 112)
    gradients = []
    for checkpointing in (False, True):
        network = micro(checkpointing=checkpointing, drop_path=0.0).train()
        network(frames).logits.sum().backward()
        gradients.append([p.grad for p in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def by_loops(embedding, grid, rows, duration):
    """The original's image of embeddings, by its arithmetic: frame i in row i // rows, column i % rows."""
    height, width = grid // rows, grid // (duration // rows)
    image = torch.zeros(grid, grid, embedding.shape[-1])
    for frame in range(duration):
        top, left = (frame // rows) * height, (frame % rows) * width
        image[top : top + height, left : left + width] = embedding[0, frame]
    return image


@pytest.mark.parametrize(("rows", "frames"), [(2, 4), (1, 4), (4, 4), (3, 9), (2, 8), (4, 8)])
def test_the_original_layout_of_embeddings(rows, frames):
    network = Tall("micro", pretrained=False, rows=rows, frames=frames, layout="paper_compat", frame_size=56, window=7)
    grid = network.owner.shape[0]
    added = network.frame_embedding[:, network.owner] * (network.owner >= 0)[..., None]
    assert torch.equal(added[0], by_loops(network.frame_embedding, grid, rows, frames))
    if rows * rows == frames and grid % rows == 0:
        exact = Tall("micro", pretrained=False, rows=rows, frames=frames, frame_size=56, window=7)
        assert torch.equal(exact.owner, network.owner)


def official(tiny, frames, **told):
    state = to_official(tiny)
    state["frame_pos_embed"] = torch.randn(1, frames, state["frame_pos_embed"].shape[-1])
    return {"model": state, "args": argparse.Namespace(**told)}


def test_the_command_line_in_an_official_container_is_read(tmp_path, tiny):
    told = {"thumbnail_rows": 3, "duration": 9, "frames_per_group": 3, "num_clips": 4, "input_size": 112}
    torch.save(official(tiny, 9, **told), tmp_path / "nine.pth")
    foreign = read_foreign(tmp_path / "nine.pth")
    network = Tall(**foreign.arguments)
    load_foreign(network, foreign)
    spec = network.input
    assert (network.rows, spec.frames, spec.stride, spec.clips, spec.size) == (3, 9, 3, 4, 112)
    assert (network.owner == -1).sum() == 3136 - 54 * 54  # whole tokens of 18 to a frame leave the last two without
    assert network(torch.rand(1, 9, 3, 112, 112)).logits.isfinite().all()


def test_padded_frames_have_embeddings_of_their_own(tmp_path, tiny):
    torch.save(official(tiny, 8, thumbnail_rows=4, duration=6), tmp_path / "six.pth")
    foreign = read_foreign(tmp_path / "six.pth")
    network = Tall(**foreign.arguments)
    load_foreign(network, foreign)
    assert (network.input.frames, network.frame_embedding.shape[1]) == (6, 8)


@pytest.mark.parametrize(
    ("frames", "told", "message"),
    [
        (4, {"modality": "flow"}, "trained with modality='flow', which cannot be reproduced"),
        (4, {"dense_sampling": False}, "dense_sampling=False"),
        (4, {"num_crops": 3}, "num_crops=3"),
        (4, {"duration": 8, "thumbnail_rows": 2}, "embeds 4 frames, its command line says duration=8"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(tmp_path, tiny, frames, told, message):
    torch.save(official(tiny, frames, **told), tmp_path / "x.pth")
    with pytest.raises(DfdError, match=message):
        read_foreign(tmp_path / "x.pth")
