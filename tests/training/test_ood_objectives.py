"""The objectives of reconstruction, confidence, abnormality and categories: what they train, and that they learn."""

import functools

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from dfd.core.errors import DfdError
from dfd.core.records import Record
from dfd.inference.observe import collect, linear_head, observe
from dfd.models.abnormality import AbnormalityDetector
from dfd.models.meso import MesoInception4
from dfd.models.unet_scorer import UnetScorer
from dfd.models.vit_autoencoder import VitAutoencoder
from dfd.training.abnormality import Abnormality
from dfd.training.categories import Categories
from dfd.training.reconstruction import Reconstruction, hinted_loss, kl_to_standard, reconstruction_loss

DEIT = "deit_tiny_distilled_patch16_224.fb_in1k"


def unet(**more):
    torch.manual_seed(0)
    return UnetScorer(32, depth=3, width=4, head="pool", dropout=0.0, **more)


def vit(**more):
    torch.manual_seed(0)
    return VitAutoencoder(DEIT, False, size=32, width=2, latent=4, dropout=0.0, **more)


def batch(classes=2, count=16, size=32):
    draw = torch.Generator().manual_seed(1)
    label = torch.arange(count) % classes
    pixels = torch.rand(count, 3, size, size, generator=draw) * 0.5
    for row, k in enumerate(label):
        pixels[row, :, 4 * k + 2 : 4 * k + 8, 4:28] += 0.4
    return {
        "pixels": pixels,
        "label": label,
        "video": torch.arange(count),
        "t": torch.zeros(count, dtype=torch.float64),
    }


class Batches(DataLoader):
    balance = "balanced"


def trained(objective, data, steps=40):
    trainer = pl.Trainer(
        max_steps=steps, max_epochs=-1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(objective, DataLoader([data] * 4, batch_size=None))
    return objective.network.eval()


def adam(lr=1e-2):
    return functools.partial(torch.optim.Adam, lr=lr)


@pytest.mark.parametrize(
    "network", [unet, lambda: unet(confidence=True, residual=True), pytest.param(vit, marks=pytest.mark.slow)]
)
def test_reconstruction_overfits_one_batch_in_both_tasks(network):
    data = batch()
    network = network()
    with torch.no_grad():
        before = network.eval()(data["pixels"])
        error = reconstruction_loss(before.target, before.reconstruction)
    objective = Reconstruction(network.train(), adam(3e-3), weight=0.5, kl_weight=0.01)
    after = trained(objective, data, 40)(data["pixels"])
    assert (after.logits.argmax(1) == data["label"]).all()
    assert reconstruction_loss(after.target, after.reconstruction) < 0.8 * error


@pytest.mark.parametrize(("part", "moves"), [("classifier", "backbone."), ("autoencoder", "autoencoder.")])
def test_separate_training_moves_its_part_alone(part, moves):
    network = vit()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trained(Reconstruction(network, adam(), part=part, kl_weight=0.1), batch(), 4)
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith(moves) for name in moved)
    other = "autoencoder." if part == "classifier" else ("backbone.", "head.")
    assert not any(name.startswith(other) for name in moved)


def test_the_attention_that_is_followed_is_not_changed_by_following():
    network = vit()
    output = network(batch()["pixels"])
    reconstruction_loss(output.target, output.reconstruction).backward()
    assert all(p.grad is None for p in network.backbone.parameters())
    assert any(p.grad is not None for p in network.autoencoder.parameters())


def test_hints_move_probabilities_towards_the_truth():
    logits, label = torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([1, 1])
    confidence = torch.tensor([0.25, 0.25])
    judged, price = hinted_loss(logits, confidence, label, torch.tensor([True, False]))
    p = logits.softmax(1)[0, 1]
    expected = -(torch.log(0.25 * p + 0.75) + torch.log(p)) / 2
    assert judged.item() == pytest.approx(expected.item(), rel=1e-5)
    assert price.item() == pytest.approx(-np.log(0.25), rel=1e-5)
    no_hints, _ = hinted_loss(logits, confidence, label, torch.tensor([False, False]))
    torch.testing.assert_close(no_hints, F.cross_entropy(logits, label))


def test_the_price_of_a_hint_follows_its_budget():
    cheap = Reconstruction(unet(confidence=True), adam(1e-4), hint_budget=5.0)
    dear = Reconstruction(unet(confidence=True), adam(1e-4), hint_budget=0.0)
    for objective, comparison in ((cheap, torch.less), (dear, torch.greater)):
        trained(objective, batch(), 3)
        assert comparison(objective.hint_price, torch.tensor(0.1))
    assert "hint_price" in cheap.state_dict()  # a stopped run goes on with it


def test_divergence_is_that_of_normal_distributions():
    mean, log_variance = torch.tensor([[0.5, -1.0]]), torch.tensor([[0.2, -0.3]])
    own = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = torch.distributions.kl_divergence(own, torch.distributions.Normal(0.0, 1.0)).sum() / 12
    torch.testing.assert_close(kl_to_standard(mean, log_variance, torch.zeros(3, 2, 2)), expected)


def test_an_objective_that_does_not_fit_is_named():
    with pytest.raises(DfdError, match="MesoInception4 reconstructs nothing"):
        Reconstruction(MesoInception4(32), adam()).loss(MesoInception4(32)(batch()["pixels"]), batch())
    with pytest.raises(DfdError, match="needs a network with an autoencoder"):
        Reconstruction(unet(), adam(), part="autoencoder")
    network = MesoInception4(32, logits=2)
    with pytest.raises(DfdError, match=r"at least 5 classes: set model\.network\.logits=5"):
        Categories(network, adam()).loss(network(batch(5)["pixels"]), batch(5))


@pytest.mark.parametrize("variant", ["v3", "v4_small"])
def test_abnormality_learns_and_leaves_its_base_alone(variant):
    base = unet(confidence=True).eval()
    before = {name: value.clone() for name, value in base.state_dict().items()}
    data = batch()
    network = AbnormalityDetector(base, variant)
    objective = Abnormality(network, adam(), outlier_weight=1.0)
    network = trained(objective, data, 80)
    right = (network(data["pixels"]).logits[:, 0] > 0) == (data["label"] == 1)
    assert right.float().mean() > 0.9
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())
    (group,) = [g for g in objective.configure_optimizers().param_groups if g["weight_decay"] == 0.0][:1]
    ids = {id(p) for p in base.parameters()}
    assert not any(id(p) in ids for p in group["params"])


def test_the_weight_of_outliers_comes_from_the_records():
    objective = Abnormality(AbnormalityDetector(unet()), adam())
    records = [Record(str(n), "toy", "train", int(n < 2), "", str(n)) for n in range(10)]

    class Data:
        balance = "natural"

        def records(self, split):
            return records

    class Trainer:
        datamodule = Data()

    objective._trainer = Trainer()
    objective.on_fit_start()
    assert objective.outlier_weight == 4.0


def test_categories_learn_more_than_two_classes():
    data = batch(4)
    network = trained(Categories(MesoInception4(32, logits=4, dropout=0.0), adam()), data, 120)
    assert (network(data["pixels"]).logits.argmax(1) == data["label"]).float().mean() > 0.9


@pytest.mark.parametrize("logits", [1, 2])
def test_a_bank_holds_what_the_network_makes_of_views(logits):
    torch.manual_seed(0)
    network = MesoInception4(32, logits=logits).eval()
    data = batch()
    records = [Record(f"r{n}", "toy", "test", n % 2, "", f"g{n}", "swap") for n in range(16)]
    bank = collect(network, [data], records, lambda record: record.method, ["odin", "mc_dropout"])
    output = network(data["pixels"])
    assert bank.logits.shape == (16, 2)
    np.testing.assert_allclose(bank.features, output.features.detach().numpy(), rtol=1e-5)
    head = linear_head(network, 16)
    np.testing.assert_allclose(bank.features @ head.weight.T + head.bias, bank.logits, atol=1e-4)
    margin = bank.logits[:, 1] - bank.logits[:, 0]
    np.testing.assert_allclose(1 / (1 + np.exp(-margin)), network.score(output).detach().numpy(), rtol=1e-4)
    assert bank.extra["odin"].shape == (16, 3, 2)
    assert bank.extra["mc_dropout"].shape == (16, 10, 2)
    assert bank.extra["mc_dropout"].std(1).min() > 0
    again = observe(network, data["pixels"], ["mc_dropout"])["mc_dropout"]
    np.testing.assert_array_equal(again, bank.extra["mc_dropout"])
    assert not network.hidden[0].training


def test_odin_moves_every_view_to_where_its_class_is_likelier():
    network = MesoInception4(32, logits=2).eval()
    columns = observe(network, batch()["pixels"], ["odin"])
    predicted = columns["logits"].argmax(1)
    sign = np.where(predicted == 1, 1, -1)
    margin = sign * (columns["logits"][:, 1] - columns["logits"][:, 0])
    moved = sign[:, None] * (columns["odin"][:, :, 1] - columns["odin"][:, :, 0])
    assert (moved[:, 1] > margin).mean() > 0.9  # of all views, not of the first in the batch
    assert (np.diff(moved, axis=1) > 0).mean() > 0.8


def test_a_bank_over_an_abnormality_module_is_that_of_its_base():
    base = unet(confidence=True).eval()
    network = AbnormalityDetector(base).eval()
    columns = observe(network, batch()["pixels"])
    assert {"abnormality", "reconstruction", "confidence"} <= set(columns)
    np.testing.assert_allclose(columns["features"], base(batch()["pixels"]).features.detach().numpy(), rtol=1e-5)
    assert linear_head(network, base.scorer.width).weight.shape == (2, base.scorer.width)
