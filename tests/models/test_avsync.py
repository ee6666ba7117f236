import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from dfd.core.errors import DfdError
from dfd.models.avsync import HOP, AVSync, naive_delays
from dfd.models.avsync_weights import (
    load_distribution_model,
    load_feature_model,
    load_strictly,
    published_sync,
    read_pca,
)
from dfd.models.delays import DelayDecoder, DistributionModel, FeatureModel, Pca, Quirks, divergence
from dfd.models.mel import LogMel, mel_bank

FOUND = [folder / "shared/data/avad" for folder in Path(__file__).parents if (folder / "shared/data/avad").is_dir()]
PUBLISHED = FOUND[0] if FOUND else Path()
needs_published = pytest.mark.skipif(not FOUND, reason="the published weights are not here")


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def tiny(**options):
    torch.manual_seed(0)
    return AVSync("tiny", size=48, region=(0.5, 1.0, 0.2, 0.8), **options).eval()


def clip(frames, size=48, margin=15, seed=1):
    random = torch.Generator().manual_seed(seed)
    sound = 0.1 * torch.randn(1, (frames + 2 * margin) * HOP, generator=random)
    return torch.rand(1, frames, 3, size, size, generator=random), sound


def test_the_published_network_has_its_shapes():
    network = published_sync()
    assert (count(network.vis_enc), count(network.aud_enc), count(network.transformer)) == (
        31_820_352,
        4_089_792,
        4_837_377,
    )
    state = network.state_dict()
    assert len(state) == 207
    assert state["vis_enc.layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1, 1)
    assert state["aud_enc.conv6.weight"].shape == (512, 256, 4, 3)
    assert state["transformer.pos_embedding"].shape == (1, 512, 1, 14, 14)
    assert state["transformer.transformer.layers.2.0.fn.to_qkv.weight"].shape == (1536, 512)
    assert state["transformer.visual_modality_embeding"].shape == (1, 512, 1)


@pytest.mark.parametrize(("layout", "window"), [("transpose", 5), ("legacy", 5), ("transpose", 8)])
def test_one_pass_gives_what_the_naive_loop_gives(layout, window):
    network = tiny(token_layout=layout, window=window)
    for name, buffer in network.named_buffers():  # running statistics that a trained network would have
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    pixels, sound = clip(window + 4)
    with torch.no_grad():
        found, wanted = network(pixels, sound).logits, naive_delays(network, pixels, sound)
    assert found.shape == (1, 5, 31)
    assert torch.allclose(found, wanted, atol=1e-5)
    assert found.std() > 1e-4


def test_a_shift_is_the_same_as_sound_that_was_cut_elsewhere():
    network = tiny()
    pixels, sound = clip(8, margin=20)
    with torch.no_grad():
        for shift in (-5, 0, 3):
            cut = sound[:, (5 + shift) * HOP : (5 + shift + 38) * HOP]
            assert torch.allclose(
                network.fuse(network.see(pixels), network.hear(sound), shift), network(pixels, cut).logits, atol=1e-5
            )
        with pytest.raises(DfdError, match="does not reach"):
            network.fuse(network.see(pixels), network.hear(sound), 6)


def test_the_layouts_differ_and_an_unknown_variant_is_refused():
    pixels, sound = clip(6)
    with torch.no_grad():
        assert not torch.allclose(tiny()(pixels, sound).logits, tiny(token_layout="legacy")(pixels, sound).logits)
    with pytest.raises(DfdError, match="tiny"):
        AVSync("huge")


def test_mels_are_those_of_a_slow_transcription():
    samples = 0.3 * np.random.default_rng(0).standard_normal(3200).astype(np.float32)
    padded = np.pad(samples * 32768.0, 256, mode="reflect")
    window = np.zeros(512)
    window[96:416] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(320) / 320)
    frames = np.stack([padded[start : start + 512] * window for start in range(0, 3201, 160)])[:-1]
    magnitude = np.abs(np.fft.rfft(frames)).T
    wanted = np.log(mel_bank(16_000, 512, 80) @ magnitude + 1e-20)
    found = LogMel(scale=32768.0, floor=1e-20)(torch.from_numpy(samples)).numpy()
    assert found.shape == (80, 20)
    assert np.allclose(found, wanted, atol=1e-3)


def test_the_mel_bank_is_librosas():
    librosa = pytest.importorskip("librosa")
    assert np.allclose(mel_bank(16_000, 512, 80), librosa.filters.mel(sr=16_000, n_fft=512, n_mels=80), atol=1e-7)


def test_what_comes_later_changes_nothing_before_it():
    torch.manual_seed(0)
    decoder = DelayDecoder().eval()
    sequence = torch.randn(2, 49, 31)
    changed = sequence.clone()
    changed[:, 40] += 5
    with torch.no_grad():
        before, after = decoder(sequence), decoder(changed)
    assert torch.allclose(before[:, :40], after[:, :40], atol=1e-6)
    assert not torch.allclose(before[:, 40:], after[:, 40:], atol=1e-3)


def test_padding_changes_nothing():
    torch.manual_seed(0)
    decoder = DelayDecoder().eval()
    sequence = torch.randn(1, 20, 31)
    padded = torch.cat([sequence, 9 * torch.ones(1, 29, 31)], 1)
    with torch.no_grad():
        found = decoder(padded, torch.arange(49)[None] < 20)
    assert torch.allclose(found[:, :20], decoder(sequence), atol=1e-5)


@pytest.mark.parametrize("quirk", list(Quirks.__dataclass_fields__))
def test_every_quirk_can_be_switched_off(quirk):
    torch.manual_seed(0)
    plain = DelayDecoder(quirks=Quirks(**{quirk: False})).eval()
    assert plain(torch.randn(1, 49, 31)).shape == (1, 49, 31)
    assert count(plain) != 827_423 or quirk == "scale_by_dim"
    assert count(DelayDecoder()) == 827_423


def test_a_sequence_beyond_the_table_is_refused():
    with pytest.raises(DfdError, match="49 places"):
        DelayDecoder()(torch.zeros(1, 50, 31))


def test_components_are_those_of_scikit_learn():
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.random.default_rng(0).standard_normal((200, 40)) @ np.random.default_rng(1).standard_normal((40, 40))
    wanted = make_pipeline(StandardScaler(), PCA(6, svd_solver="full")).fit_transform(rows)
    found = Pca(40, 6).fit(torch.from_numpy(rows))(torch.from_numpy(rows).float()).numpy()
    assert np.allclose(np.abs(found), np.abs(wanted), atol=1e-3)
    with pytest.raises(DfdError, match="more videos"):
        Pca(40, 31).fit(torch.randn(20, 40))


def test_a_pickle_that_wants_more_than_arrays_is_refused(tmp_path):
    path = tmp_path / "pca.pkl"
    path.write_bytes(pickle.dumps(Path("x")))
    with pytest.raises(DfdError, match="refused"):
        read_pca(path)
    path.write_bytes(b"not a pickle")
    with pytest.raises(DfdError, match="not a pickled"):
        read_pca(path)


def test_what_does_not_fit_is_listed(tmp_path):
    model = DistributionModel()
    state = model.decoder.state_dict()
    state["lin1.weight"] = state["lin1.weight"][:, :5]
    state["more"] = state.pop("lin2.bias")
    with pytest.raises(DfdError, match=r"missing lin2.bias; unexpected more; of another shape lin1.weight \(256, 5\)"):
        load_strictly(model.decoder, state, tmp_path / "x.pth")


def gaussians(places, amplitude=10.0, width=2.0):
    delays = np.arange(31) - 15
    return amplitude * np.exp(-0.5 * ((delays - np.asarray(places)[:, None]) / width) ** 2)


def published_score(model, logits):
    logits = torch.tensor(logits, dtype=torch.float32)[None]
    with torch.no_grad():
        return float(divergence(model(logits), logits[:, 1:].softmax(-1)).mean())


@needs_published
def test_the_published_model_of_delays_gives_its_numbers():
    model = load_distribution_model(PUBLISHED / "dist_regressive_model.pth")
    assert published_score(model, np.zeros((50, 31))) == pytest.approx(0.2503, abs=1e-4)
    assert published_score(model, gaussians(np.zeros(50))) == pytest.approx(0.1329, abs=1e-4)
    assert published_score(model, gaussians(np.full(50, 7))) == pytest.approx(1.0308, abs=1e-4)
    assert published_score(model, gaussians(np.full(50, -7))) == pytest.approx(1.8498, abs=1e-4)


@needs_published
def test_the_published_model_of_features_reads_its_pickle_without_running_it():
    model = load_feature_model(PUBLISHED / "avfeature_regressive_model.pth", PUBLISHED / "pca.pkl")
    arrays = read_pca(PUBLISHED / "pca.pkl")
    assert arrays["explained_variance"].sum() / 1024 == pytest.approx(0.625, abs=1e-3)
    features = torch.randn(1, 12, 1024, generator=torch.Generator().manual_seed(0))
    standard = (features.numpy() - arrays["mean"]) / arrays["scale"] - arrays["pca_mean"]
    assert np.allclose(model.pca(features).numpy(), standard @ arrays["components"].T, atol=1e-3)
    assert torch.allclose(model.targets(features).norm(dim=-1), torch.ones(1, 12))
    assert model(features).shape == (1, 11, 31)


def test_an_own_feature_model_takes_any_width():
    model = FeatureModel(features=96).eval()
    model.pca.fit(torch.randn(64, 96))
    assert model(torch.randn(2, 10, 96)).shape == (2, 9, 31)
