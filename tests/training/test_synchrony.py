import functools

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from dfd.core.errors import DfdError
from dfd.data.talk_datamodule import TalkDataModule
from dfd.models.av_anomaly import AVAnomaly
from dfd.models.avsync import AVSync
from dfd.training.run_split import score_split
from dfd.training.scoring import TalkScoring, TalkViewScoring, scoring_for
from dfd.training.sequence_anomaly import SequenceAnomaly
from dfd.training.synchrony import Synchrony
from tests.talking import talking_heads

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    return talking_heads(tmp_path_factory.mktemp("heads"), {"train": 4, "val": 4, "test": 2}, frames=50)


def tiny(**options):
    torch.manual_seed(0)
    return AVSync("tiny", size=32, region=(0.5, 1.0, 0.2, 0.8), frames=10, dropout=0.0, **options)


def adam(lr):
    return functools.partial(torch.optim.AdamW, lr=lr)


def trainer(epochs=1, **more):
    return pl.Trainer(max_epochs=epochs, accelerator="cpu", **QUIET, **more)


@pytest.mark.slow
def test_a_batch_is_learned_by_heart(heads):
    network = tiny()
    objective = Synchrony(network, optimizer=adam(3e-3), first_epochs=1)
    data = TalkDataModule(heads, network.input, batch_size=4, workers=0, vary_sound=False)
    batch = next(iter(data.train_dataloader()))
    batch["pixels"] = network.pixels(batch["pixels"])
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(15):
        visual, audio = network.see(batch["pixels"]), network.hear(batch["sound"])
        loss = objective.other_times(visual, audio)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(np.log(12), abs=0.4)
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.slow
def test_stages_follow_from_the_epoch_and_validation_counts_frames(heads):
    network = tiny()
    objective = Synchrony(network, optimizer=adam(1e-3), first_epochs=1)
    stages = []
    first, second = objective.other_videos, objective.other_times
    objective.other_videos = lambda *args: stages.append(1) or first(*args)
    objective.other_times = lambda *args: stages.append(2) or second(*args)
    data = TalkDataModule(heads, network.input, batch_size=4, workers=0, eval_methods=["real"])
    run = trainer(2, num_sanity_val_steps=0)
    run.fit(objective, datamodule=data)
    assert stages == [1, 2]
    assert 0 <= run.callback_metrics["val/within1"] <= 1
    assert run.callback_metrics["val/mean_abs"] > 0


def test_fakes_in_the_training_split_are_an_error_that_names_one(heads):
    network = tiny()
    data = TalkDataModule(heads, network.input, workers=0, train_methods=None)
    with pytest.raises(DfdError, match="train0_RVFA"):
        trainer().fit(Synchrony(network, optimizer=adam(1e-3)), datamodule=data)


def test_one_video_has_no_others_to_be_compared_with():
    network = tiny()
    with pytest.raises(DfdError, match="batch_size=1"):
        Synchrony(network).other_videos(torch.zeros(1, 8, 5, 48), torch.zeros(1, 38, 4, 48))


def test_every_window_of_a_clip_is_in_the_table_once(heads):
    network = tiny()
    data = TalkDataModule(heads, network.input, workers=0, eval_methods=["real"])
    rows = score_split(network, data, "test", {"_target_": "dfd.training.trainer.Trainer", "accelerator": "cpu"})
    table = TalkScoring(network).table(rows, data.records("test"))
    assert len(table) == 2 * 46
    assert np.allclose(table.groupby("video")["t"].apply(np.diff).explode().astype(float), 0.04)
    assert isinstance(scoring_for(network), TalkScoring)


def anomaly(**options):
    return AVAnomaly(tiny(), steps=20, stride=10, **options)


@pytest.mark.slow
def test_the_detector_learns_from_people_whom_the_base_has_not_seen(heads):
    network = anomaly()
    before = {name: value.clone() for name, value in network.base.state_dict().items()}
    data = TalkDataModule(heads, network.input, batch_size=4, workers=0, train_on="val", fit_share=0.5)
    run = trainer(3, num_sanity_val_steps=0)
    objective = SequenceAnomaly(network, optimizer=adam(1e-3), passes=2)
    losses = []
    objective.on_train_epoch_end = lambda: losses.append(float(run.callback_metrics["train/loss"]))
    run.fit(objective, datamodule=data)
    assert losses[-1] < losses[0]
    assert all(torch.equal(before[name], value) for name, value in network.base.state_dict().items())
    assert {"val/surprise", "val/loss"} <= set(run.callback_metrics)
    rows = score_split(network.eval(), data, "test", {"_target_": "dfd.training.trainer.Trainer", "accelerator": "cpu"})
    table = TalkViewScoring(network).table(rows, data.records("test"))
    assert len(table) >= 4
    assert np.isfinite(table["score"]).all()


def test_the_split_that_the_base_learned_from_is_refused(heads):
    network = anomaly()
    network.base_manifest = heads.hash
    data = TalkDataModule(heads, network.input, workers=0)
    with pytest.raises(DfdError, match="train_on=val"):
        trainer().fit(SequenceAnomaly(network, optimizer=adam(1e-3)), datamodule=data)


def test_an_offset_is_found_and_taken_out():
    torch.manual_seed(0)
    network = anomaly(quiet=None).eval()
    pixels = torch.rand(1, 24, 3, 32, 32)
    sound = 0.1 * torch.randn(1, (24 + 2 * network.input.margin) * 640)
    with torch.no_grad():
        judged = network(pixels, sound)
        plain = anomaly(quiet=None, align_offset=False).eval()
        plain.load_state_dict(network.state_dict())
        moved = torch.roll(sound, -640 * int(judged.offset), dims=1)
        again = plain(pixels, moved)
    assert judged.offset.abs() <= 15
    assert torch.allclose(judged.delays, again.delays, atol=1e-5)


def test_a_short_clip_and_silent_windows_do_not_count():
    network = anomaly().eval()
    pixels = torch.rand(2, 24, 3, 32, 32)
    sound = 0.1 * torch.randn(2, (24 + 2 * network.input.margin) * 640)
    sound[1, (network.input.margin + 12) * 640 :] = 0
    with torch.no_grad():
        judged = network(pixels, sound, torch.tensor([10, 24]))
    assert judged.valid.sum(1).tolist()[0] == 5
    assert 8 <= judged.valid.sum(1).tolist()[1] <= 12
    step = (judged.kl * judged.valid).sum(1) / judged.valid.sum(1)
    assert torch.allclose(judged.logits[:, 0], step)
