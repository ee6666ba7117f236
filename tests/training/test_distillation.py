"""Distillation: closed forms, a teacher that nothing touches, any student and any teacher."""

import copy
import functools
import math

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd.core.errors import DfdError
from dfd.core.records import InputSpec
from dfd.core.tensors import Distilled
from dfd.data.datamodule import FaceDataModule
from dfd.models.base import Detector
from dfd.models.meso import MesoInception4
from dfd.training.callbacks import Ema
from dfd.training.distillation import Distillation, distilled
from dfd.training.losses import by_class, classification_loss, smoothed
from dfd.training.teaching import CachedOdds, Teacher

ODDS = st.floats(-8, 8)
ADAM = functools.partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.01)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def bce(logit, target):
    return -target * math.log(sigmoid(logit)) - (1 - target) * math.log(1 - sigmoid(logit))


def batch_of(label, size=32):
    count = len(label)
    return {"pixels": torch.rand(count, 3, size, size), "label": torch.tensor(label),
            "video": torch.arange(count), "t": torch.zeros(count, dtype=torch.float64)}  # fmt: skip


def objective(**arguments):
    torch.manual_seed(0)
    arguments = {"teacher": MesoInception4(32, logits=1), "optimizer": ADAM} | arguments
    return Distillation(MesoInception4(32, logits=1), **arguments)


class Says:
    """A teacher that says what it is told to."""

    def __init__(self, odds):
        self.odds = torch.tensor(odds)

    def __call__(self, batch):
        return self.odds


@pytest.mark.parametrize("label", [[1, 1, 0], [1, 1, 1], [0, 0, 0]])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_published_loss_in_closed_form(label, alpha):
    """Per class alpha x BCE(label) + (1 - alpha) x BCE(teacher); a class that is absent adds 0 and halves the rest."""
    own, taught, told = [0.3, -1.2, 2.0], [1.1, 0.2, -0.7], [2.0, -1.0, 0.5]
    it = objective(alpha=alpha, label_smoothing=0.02, per_class="rank").train()
    it.log_dict = lambda *args, **kwargs: None
    it.teacher = Says(told)
    columns = [torch.tensor(values)[:, None] for values in (own, taught)]
    output = Distilled(columns[0], columns[0], *columns)
    expected = 0.0
    for kind in (0, 1):
        rows = [row for row in range(3) if label[row] == kind]
        target = 0.99 if kind else 0.01
        each = [alpha * bce(own[r], target) + (1 - alpha) * bce(taught[r], sigmoid(told[r])) for r in rows]
        expected += sum(each) / len(each) / 2 if each else 0.0
    assert float(it.loss(output, batch_of(label))) == pytest.approx(expected, rel=1e-5)


def test_clipping_labels_is_smoothing_them():
    assert smoothed(torch.tensor([0, 1]), 0.02).tolist() == pytest.approx([0.01, 0.99])


@settings(max_examples=60, deadline=None)
@given(student=ODDS, teacher=ODDS, tau=st.floats(0.5, 8))
def test_kl_has_the_gradient_of_bce_and_is_0_where_they_agree(student, teacher, tau):
    told = torch.tensor([teacher], dtype=torch.float64)
    found = {}
    for kind in ("soft_bce", "soft_kl"):
        value = torch.tensor([student], dtype=torch.float64, requires_grad=True)
        distilled(value, told, kind, tau).sum().backward()
        found[kind] = float(value.grad)
    assert found["soft_bce"] == pytest.approx(found["soft_kl"], abs=1e-9)
    assert float(distilled(told, told, "soft_kl", tau)) == pytest.approx(0, abs=1e-9)
    p, q = (1 / (1 + np.exp(-np.array([x, -x]) / tau)) for x in (teacher, student))
    kl = tau**2 * float((p * np.log(p / q)).sum())
    assert float(distilled(value.detach(), told, "soft_kl", tau)) == pytest.approx(kl, abs=1e-7)


def test_hard_takes_the_decision_for_the_label():
    student, teacher = torch.tensor([0.5, 0.5]), torch.tensor([0.01, -3.0])
    expected = torch.tensor([bce(0.5, 1), bce(0.5, 0)])
    torch.testing.assert_close(distilled(student, teacher, "hard"), expected)


@pytest.mark.parametrize("logits", [1, 2])
def test_per_class_weighs_both_alike(logits):
    torch.manual_seed(0)
    values, label = torch.randn(5, logits), torch.tensor([1, 1, 1, 1, 0])
    halves = [classification_loss(values[label == kind], label[label == kind]) for kind in (0, 1)]
    whole = classification_loss(values, label, per_class="rank")
    torch.testing.assert_close(whole, sum(halves) / 2)
    torch.testing.assert_close(classification_loss(values, label, per_class="global"), whole)  # one process
    with pytest.raises(DfdError, match="give one of them"):
        by_class(torch.ones(1), torch.ones(1, dtype=torch.long), "rank", [1, 2])


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_nothing_touches_the_teacher(noise, tmp_path, mode):
    teacher = MesoInception4(32, logits=1)
    it = objective(teacher=teacher, mode=mode, card={"network": {}})
    before = copy.deepcopy(teacher.state_dict())
    data = FaceDataModule(noise, it.network.input, batch_size=8, visits=1, eval_frames=2, workers=0)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, callbacks=[Ema()], default_root_dir=tmp_path,
        use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(it, datamodule=data)
    assert teacher.training == (mode == "train")
    after = teacher.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert all("running" in name or "num_batches" in name for name in moved)
    assert bool(moved) == (mode == "train")
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in teacher.parameters())
    inside = {id(parameter) for parameter in it.parameters()}
    assert not inside & {id(parameter) for parameter in teacher.parameters()}
    assert {name.split(".")[0] for name in it.state_dict()} == {"network"}
    optimised = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert not optimised & {id(parameter) for parameter in teacher.parameters()}
    assert copy.deepcopy(it).teacher is it.teacher


def test_a_student_learns_what_only_the_teacher_knows():
    """Labels say nothing (alpha 0): the student still ends where the teacher is."""

    class Brightness(Detector):
        def __init__(self):
            super().__init__(InputSpec("image", 16, mean=(0, 0, 0), std=(1, 1, 1)))

        def forward_features(self, pixels):
            return pixels.mean((2, 3))

        def forward_head(self, features):
            return 20 * (features[:, :1] - 0.5)

    torch.manual_seed(0)
    it = objective(teacher=Brightness(), alpha=0.0).train()
    it.log_dict = lambda *args, **kwargs: None
    optimizer = torch.optim.Adam(it.parameters(), 3e-3)
    batch = batch_of([0, 1] * 8)
    batch["pixels"] = torch.rand(16, 1, 1, 1).expand(16, 3, 32, 32).clone()
    losses = []
    for _ in range(120):
        optimizer.zero_grad()
        loss = it.loss(it.network(batch["pixels"]), batch)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    told = it.teacher(batch)
    entropy = float(distilled(told, told).mean())
    assert losses[-1] - entropy < 0.2 * (losses[0] - entropy)


def test_outside_training_the_loss_is_that_of_the_answer():
    it = objective().eval()
    it.teacher = None  # which is not asked
    batch = batch_of([0, 1, 1])
    output = it.network(batch["pixels"])
    torch.testing.assert_close(it.loss(output, batch), classification_loss(output.logits, batch["label"]))


def test_an_image_teacher_judges_clips_by_their_frames():
    teacher = MesoInception4(64).eval()
    clips = torch.rand(2, 4, 3, 64, 64)
    expected = teacher(clips.flatten(0, 1)).logits[:, 0].view(2, 4).mean(1)
    torch.testing.assert_close(Teacher(teacher)({"pixels": clips}), expected)
    assert Teacher(teacher)({"pixels": torch.rand(3, 3, 32, 32)}).shape == (3,)  # at the teacher's own size


def test_a_clip_teacher_needs_clips():
    from dfd.models.tall import Tall

    teacher = Teacher(Tall("micro", pretrained=False))
    with pytest.raises(DfdError, match="clips of 4 frames, the student single images"):
        teacher({"pixels": torch.rand(2, 3, 32, 32)})


def test_cached_odds_are_found_by_video_and_time():
    odds = CachedOdds(np.array([1, 0, 1]), np.array([0.04, 0.0, 0.0]), np.array([3.0, 1.0, 2.0]))
    batch = {"pixels": torch.zeros(2), "video": torch.tensor([1, 0]), "t": torch.tensor([0.04, 0.0])}
    assert odds(batch).tolist() == [3.0, 1.0]
    with pytest.raises(DfdError, match="knows nothing of 1 of 2 views"):
        odds(batch | {"t": torch.tensor([0.08, 0.0])})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "soft"}, "allowed are soft_bce"),
        ({"alpha": 2.0}, "must lie in"),
        ({"teacher": None}, "needs a teacher"),
    ],
)
def test_wrong_options_are_named(arguments, message):
    with pytest.raises(DfdError, match=message):
        objective(**arguments)
