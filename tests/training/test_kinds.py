"""The room for other kinds: a toy network of each kind is trained, stopped, resumed and scored by the real loops."""

import functools

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset

from dfd.core.build import allowed_networks
from dfd.core.errors import DfdError, Stopped
from dfd.core.manifest import Manifest
from dfd.core.records import STREAMS, FeatureStream, PairInput, Record, Segment, SequenceInput, TalkInput
from dfd.core.tensors import Localised, Output
from dfd.data.datamodule import RecordDataModule
from dfd.data.views import Visit
from dfd.models.base import Localiser, Restorer, Synchroniser
from dfd.models.checkpoint import load_network
from dfd.training.callbacks import Ema, History, StopGracefully
from dfd.training.run_split import score_split
from dfd.training.schedules import warmup_cosine
from dfd.training.scoring import PairScoring, SequenceScoring, TalkScoring, scoring_for

COUNTS = {"train": 8, "val": 4, "test": 5}
TRAINER = {"accelerator": "cpu", "devices": 1, "use_distributed_sampler": False}


def records(label, segments=()):
    return tuple(
        Record(f"{split}{n}", "toy", split, label, f"{n}.mp4", f"{split}{n}", fps=25.0, frames=200, segments=segments)
        for split, count in COUNTS.items()
        for n in range(count)
    )


def draws(video, seed):
    return np.random.default_rng([video, *([] if seed is None else [seed])])


class Toys(Dataset):
    """Views of synthetic records; `make` gives the arrays of one record, a row per view."""

    def __init__(self, records, make, views):
        self.records, self.make, self.views = records, make, views

    def __len__(self):
        return len(self.records)

    def __getitem__(self, visit):
        video, seed = visit if isinstance(visit, tuple) else Visit(visit)
        arrays = self.make(draws(video, seed), self.views)
        t = np.arange(self.views, dtype=float)
        return {**arrays, "t": t, "draw": np.zeros(self.views, np.int64), "label": self.records[video].label,
                "video": video}  # fmt: skip


class ToyData(RecordDataModule):
    """A kind differs in its dataset alone."""

    def __init__(self, manifest, input, make, views=1, **options):
        super().__init__(manifest, input, workers=0, **options)
        self.make, self.views = make, views

    def training_dataset(self, records):
        return Toys(records, self.make, 1)

    def evaluation_dataset(self, records):
        return Toys(records, self.make, self.views)


class ToyLocaliser(Localiser):
    """One convolution over two streams of different widths; one level of points."""

    def __init__(self, length=16):
        super().__init__(SequenceInput((FeatureStream("look", 3, 25.0), FeatureStream("sound", 2, 50.0)), length, 2.0))
        self.body = nn.Conv1d(5, 8, 3, padding=1)
        self.drop = nn.Dropout(0.2)
        self.head, self.reach = nn.Linear(8, 1), nn.Linear(8, 2)

    def points(self):
        return torch.stack([torch.arange(self.input.length), torch.ones(self.input.length)], 1)

    def forward(self, streams, mask):
        features = self.drop(self.body(torch.cat([streams["look"], streams["sound"]], 1)).relu().transpose(1, 2))
        return Localised(self.head(features), features, self.reach(features).exp(), mask)


class Localisation(SequenceScoring):
    """Points within a forged stretch; real and fake files alike."""

    def loss(self, output, batch):
        at = batch["t"].to(output.logits)[:, None] + self.network.points()[:, 0] / self.network.input.rate
        inside = [((a[:, None] >= s[:, 0]) & (a[:, None] < s[:, 1])).any(1) for a, s in zip(at, batch["segments"])]
        return F.binary_cross_entropy_with_logits(output.logits[..., 0], torch.stack(inside).float())


def sequences(generator, views):
    streams = {"look": generator.normal(size=(views, 3, 16)), "sound": generator.normal(size=(views, 2, 16))}
    streams = {name: values.astype(np.float32) for name, values in streams.items()}
    streams["look"][:, :, 4:8] += 3
    return {
        "streams": streams,
        "mask": np.arange(16)[None].repeat(views, 0) < 12,
        "segments": [np.array([[2.0 + t, 4.0 + t]]) for t in range(views)],
        "forged": [np.array([STREAMS.index("both")])] * views,
    }


class ToySynchroniser(Synchroniser):
    """Brightness of the face against loudness of the sound."""

    def __init__(self):
        super().__init__(TalkInput(size=8, frames=5, sample_rate=1000), (-0.04, 0.0, 0.04))
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(10, 3)

    def forward(self, pixels, sound):
        loud = sound.abs().unflatten(1, (5, -1)).mean(2)
        features = torch.cat([self.normalised(pixels).mean((2, 3, 4)), loud], 1)
        return Output(self.head(self.drop(features)), features)


class Synchrony(TalkScoring):
    """Real videos alone: the middle delay is the right one."""

    def loss(self, output, batch):
        return F.cross_entropy(output.logits, torch.ones_like(batch["label"]))


def talks(generator, views):
    return {
        "pixels": generator.integers(0, 255, (views, 5, 3, 8, 8), np.uint8),
        "sound": generator.normal(size=(views, 200)).astype(np.float32),
        "length": np.full(views, 5),
    }


class ToyRestorer(Restorer):
    """A residual convolution."""

    def __init__(self):
        super().__init__(PairInput(16))
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(8, 3, 1))

    def forward(self, pixels):
        return (pixels + self.body(pixels)).clamp(0, 1)


class Restoration(PairScoring):
    def loss(self, output, batch):
        return F.l1_loss(output, batch["clean"])


def pairs(generator, views):
    clean = generator.integers(60, 200, (views, 3, 16, 16), np.uint8)
    return {"clean": clean, "degraded": clean - 50}


KINDS = {
    "sequence": (ToyLocaliser, Localisation, sequences, records(1, (Segment(2.0, 4.0),))),
    "talk": (ToySynchroniser, Synchrony, talks, records(0)),
    "pair": (ToyRestorer, Restoration, pairs, records(0)),
}


class StopAt(StopGracefully):
    def __init__(self, folder, step):
        super().__init__(folder)
        self.step = step

    def on_train_batch_end(self, trainer, *args):
        self.asked = trainer.global_step >= self.step
        super().on_train_batch_end(trainer, *args)


class TunedRestorer(ToyRestorer):
    """A frozen base that can be fetched again, and a little that is trained over it."""

    base_left_out = True

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(11)  # the same weights wherever it is built
            self.base = nn.Conv2d(3, 3, 3, padding=1).requires_grad_(False)

    def saved_parts(self):
        return {name for name in self.state_dict() if not name.startswith("base.")}

    def forward(self, pixels):
        return super().forward((pixels + 0.1 * self.base(pixels)).clamp(0, 1))


def train(kind, folder, stop=None, resume=False, epochs=2, network_class=None, callbacks=()):
    make_network, objective, make, known = KINDS[kind]
    make_network = network_class or make_network
    pl.seed_everything(3, verbose=False)
    network = make_network()
    data = ToyData(Manifest(known), network.input, make, views=2, batch_size=2, visits=2, seed=3)
    card = {"network": {"_target_": f"{__name__}.{make_network.__name__}"}, "manifest": data.manifest.hash}
    optimizer = functools.partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.01)
    trained = objective(network, optimizer, functools.partial(warmup_cosine, warmup=0.1), card, seed=3)
    stopping = (
        StopGracefully(str(folder / "checkpoints")) if stop is None else StopAt(str(folder / "checkpoints"), stop)
    )
    trainer = pl.Trainer(
        **TRAINER, max_epochs=epochs, callbacks=[History(), *callbacks, stopping], logger=False,
        enable_model_summary=False, enable_progress_bar=False, num_sanity_val_steps=1, default_root_dir=folder,
    )  # fmt: skip
    path = str(folder / "checkpoints" / "last.ckpt") if resume else None
    trainer.fit(trained, datamodule=data, ckpt_path=path, weights_only=True)
    return trained, data


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_of_any_kind_goes_on_as_if_it_had_not_stopped(kind, tmp_path):
    whole, _ = train(kind, tmp_path / "whole")
    with pytest.raises(Stopped, match="stopped at step 3"):
        train(kind, tmp_path / "parts", stop=3)
    resumed, _ = train(kind, tmp_path / "parts", resume=True)
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    for a, b in zip(whole.rows["val"], resumed.rows["val"], strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_any_kind_is_scored_from_its_checkpoint(kind, tmp_path):
    trained, data = train(kind, tmp_path, epochs=4)
    epochs = next(c for c in trained.trainer.callbacks if isinstance(c, History)).epochs
    assert epochs[-1]["val/loss"] < epochs[0]["val/loss"]
    loaded = load_network(tmp_path, allowed_networks([__name__]))
    assert loaded.network.input == trained.network.input
    rows = score_split(loaded.network, data, "test", {"_target_": "dfd.training.trainer.Trainer", **TRAINER})
    table = scoring_for(loaded.network).table(rows, data.records("test"))
    assert set(table["video"]) == {f"test{n}" for n in range(COUNTS["test"])}
    if kind == "sequence":
        best = table.sort_values("score").groupby("video").tail(1)
        assert ((best["start"] < 5) & (best["end"] > 2)).all()  # where the features are unlike the others
        assert not ((table["start"] > 12 / 2 + 1) & (table["score"] > 0)).any()  # beyond the mask nothing is proposed
    if kind == "talk":
        assert len(table) == 2 * COUNTS["test"]
        assert (table["p1"] > table["p0"]).all()
    if kind == "pair":
        assert (table["psnr"] > table["psnr_before"]).all()


@pytest.mark.parametrize("ema", [False, True])
def test_a_frozen_base_is_named_by_its_hash_and_not_copied(tmp_path, ema):
    def run(folder, **more):
        return train("pair", folder, network_class=TunedRestorer, callbacks=[Ema(0.9)] if ema else [], **more)[0]

    whole = run(tmp_path / "whole")
    with pytest.raises(Stopped):
        run(tmp_path / "parts", stop=3)
    resumed = run(tmp_path / "parts", resume=True)
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name

    path = tmp_path / "parts" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    for key in ("state_dict", "current_model_state") if ema else ("state_dict",):
        assert {name.split(".")[1] for name in checkpoint[key]} == {"body"}
    loaded = load_network(path, allowed_networks([__name__]))
    for (name, a), b in zip(resumed.network.state_dict().items(), loaded.network.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    checkpoint["dfd"]["base_hash"] = "another"
    torch.save(checkpoint, tmp_path / "other.ckpt")
    with pytest.raises(DfdError, match=r"trained over a pretrained base of hash another, .*fetch the same weights"):
        load_network(tmp_path / "other.ckpt", allowed_networks([__name__]))
