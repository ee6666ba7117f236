"""A run learns, stops, and goes on as if it had not stopped."""

import functools
import logging
import re

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.data.augment import Augment
from dfd.data.datamodule import FaceDataModule
from dfd.models.checkpoint import load_network, read_checkpoint
from dfd.models.meso import MesoInception4
from dfd.training.callbacks import Ema, History, StopGracefully, Stopped
from dfd.training.classification import Classification
from dfd.training.epoch_lines import EpochLines
from dfd.training.schedules import warmup_cosine
from dfd.training.scoring import ViewScoring

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
TREE = {"_target_": "dfd.models.meso.MesoInception4", "size": 32, "dropout": 0.5}


class StopAt(StopGracefully):
    """Asks for a stop after some steps, as Ctrl-C would."""

    def __init__(self, folder, step):
        super().__init__(folder)
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.asked = trainer.global_step >= self.step
        super().on_train_batch_end(trainer, pl_module, *args)


def run(
    noise, folder, *, stop=None, resume=False, ema=False, epochs=3, dropout=0.5, lr=1e-3, accumulate=1, seed=7,
    on_device=None, callbacks=(), workers=0,
):  # fmt: skip
    import albumentations

    pl.seed_everything(seed, verbose=False)
    network = MesoInception4(32, dropout=dropout)
    augment = Augment({"flip": albumentations.HorizontalFlip(p=0.5)})
    data = FaceDataModule(
        noise, network.input, augment, batch_size=4, visits=2, eval_frames=4, workers=workers, seed=seed
    )
    objective = Classification(
        network,
        functools.partial(torch.optim.AdamW, lr=lr, weight_decay=0.01),
        functools.partial(warmup_cosine, warmup=0.1),
        {"network": TREE | {"dropout": dropout}, "model": "meso", "manifest": noise.hash},
        seed=seed,
        augment=on_device,
    )
    checkpoints = folder / "checkpoints"
    callbacks = [
        ModelCheckpoint(
            checkpoints, "best", "val/auc", mode="max",
            auto_insert_metric_name=False, enable_version_counter=False, save_on_train_epoch_end=True,
        ),
        History(),
        StopGracefully(str(checkpoints)) if stop is None else StopAt(str(checkpoints), stop),
    ] + ([Ema(decay=0.9)] if ema else []) + list(callbacks)  # fmt: skip
    trainer = pl.Trainer(
        max_epochs=epochs, accumulate_grad_batches=accumulate, accelerator="cpu", callbacks=callbacks, logger=False,
        use_distributed_sampler=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(
        objective, datamodule=data, ckpt_path=str(checkpoints / "last.ckpt") if resume else None, weights_only=True
    )
    return trainer, objective


@pytest.mark.slow
@pytest.mark.parametrize("ema", [False, True])
@pytest.mark.parametrize("stop", [3, 8, 11])  # of 8 steps an epoch: within the first, at its end, within the second
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(noise, tmp_path, stop, ema):
    whole, expected = run(noise, tmp_path / "whole", ema=ema)
    with pytest.raises(Stopped, match=rf"stopped at step {stop}"):
        run(noise, tmp_path / "parts", stop=stop, ema=ema)
    resumed, objective = run(noise, tmp_path / "parts", resume=True, ema=ema)
    assert resumed.global_step == whole.global_step == 24
    for (name, a), b in zip(expected.state_dict().items(), objective.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    histories = [next(c for c in t.callbacks if isinstance(c, History)).epochs for t in (whole, resumed)]
    assert [e["val/auc"] for e in histories[0]] == [e["val/auc"] for e in histories[1]]
    assert [e["val/loss"] for e in histories[0]] == pytest.approx([e["val/loss"] for e in histories[1]])


@pytest.mark.slow
@pytest.mark.parametrize("stop", [8, 11])  # at an epoch's end, within one
def test_batches_that_workers_fetch_ahead_are_those_of_the_resumed_epoch(noise, tmp_path, stop):
    _, expected = run(noise, tmp_path / "whole", workers=1)
    with pytest.raises(Stopped, match=rf"stopped at step {stop}"):
        run(noise, tmp_path / "parts", stop=stop, workers=1)
    _, objective = run(noise, tmp_path / "parts", resume=True, workers=1)
    for (name, a), b in zip(expected.state_dict().items(), objective.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_a_run_that_accumulates_stops_between_two_optimiser_steps(noise, tmp_path):
    _, expected = run(noise, tmp_path / "whole", accumulate=3, epochs=2)
    with pytest.raises(Stopped, match="stopped at step 2"):
        run(noise, tmp_path / "parts", stop=2, accumulate=3, epochs=2)
    _, objective = run(noise, tmp_path / "parts", resume=True, accumulate=3, epochs=2)
    for (name, a), b in zip(expected.state_dict().items(), objective.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_the_seed_decides_everything(noise, tmp_path):
    first, same, other = (
        run(noise, tmp_path / str(i), epochs=1, seed=seed)[1].state_dict() for i, seed in enumerate((3, 3, 4))
    )
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["network.head.weight"], other["network.head.weight"])


def test_a_detector_learns_what_can_be_learned(noise, tmp_path):
    trainer, _ = run(noise, tmp_path, epochs=12, dropout=0.0, lr=5e-3)
    assert max(e["val/auc"] for e in next(c for c in trainer.callbacks if isinstance(c, History)).epochs) > 0.9


def test_the_checkpoint_alone_rebuilds_the_network(noise, tmp_path):
    _, objective = run(noise, tmp_path, epochs=1)
    loaded = load_network(tmp_path)
    assert loaded.path == tmp_path / "checkpoints" / "best.ckpt"
    assert loaded.card.manifest == noise.hash
    pixels = torch.rand(2, 3, 32, 32)
    expected = objective.network.eval()
    with torch.inference_mode():
        torch.testing.assert_close(loaded.network(pixels).logits, expected(pixels).logits)


def test_the_last_epoch_is_kept_also_where_it_was_not_the_best(noise, tmp_path, monkeypatch):
    aucs = iter([0.9, 0.8, 0.7])
    monkeypatch.setattr("dfd.training.scoring.roc_auc", lambda labels, scores: next(aucs))
    run(noise, tmp_path, epochs=3)
    epochs = {name: read_checkpoint(tmp_path / "checkpoints" / f"{name}.ckpt")["epoch"] for name in ("best", "last")}
    assert epochs == {"best": 0, "last": 2}


def test_bad_checkpoints_are_named(noise, tmp_path):
    run(noise, tmp_path, epochs=1)
    best = tmp_path / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(best, weights_only=True)

    (tmp_path / "short.ckpt").write_bytes(best.read_bytes()[:5000])
    with pytest.raises(DfdError, match=r"short\.ckpt is cut off or damaged"):
        read_checkpoint(tmp_path / "short.ckpt")

    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(DfdError, match="not one of dfd"):
        load_network(tmp_path / "other.ckpt")

    del checkpoint["state_dict"]["network.head.bias"]
    torch.save(checkpoint, tmp_path / "less.ckpt")
    with pytest.raises(DfdError, match=r"do not fit.*head\.bias"):
        load_network(tmp_path / "less.ckpt")

    checkpoint["dfd"]["network"] = {"_target_": "subprocess.run", "args": "true"}
    torch.save(checkpoint, tmp_path / "evil.ckpt")
    with pytest.raises(DfdError, match="may not be built"):
        load_network(tmp_path / "evil.ckpt")

    with pytest.raises(DfdError, match="no run at"):
        load_network(tmp_path / "nowhere")


def test_a_loss_that_diverges_stops_the_run(noise, tmp_path, monkeypatch):
    monkeypatch.setattr(Classification, "loss", lambda self, output, batch: output.logits.sum() * float("nan"))
    with pytest.raises(DfdError, match=r"loss became nan at step 0: lower optimizer\.lr"):
        run(noise, tmp_path, epochs=1)


def test_what_is_augmented_on_the_device_goes_on_exactly_too(noise, tmp_path):
    """Flips and noise are draws of the visit: a run that stopped within an epoch ends as one that did not."""
    from torchvision.transforms import v2

    from dfd.data.ondevice import OnDevice

    chain = OnDevice({"flip": v2.RandomHorizontalFlip(0.5), "noise": v2.GaussianNoise(sigma=0.1)})
    _, plain = run(noise, tmp_path / "plain", epochs=2)
    _, expected = run(noise, tmp_path / "whole", epochs=2, on_device=chain)
    with pytest.raises(Stopped):
        run(noise, tmp_path / "parts", epochs=2, on_device=chain, stop=11)
    _, objective = run(noise, tmp_path / "parts", epochs=2, on_device=chain, resume=True)
    assert not torch.equal(plain.network.head.weight, expected.network.head.weight)
    for (name, a), b in zip(expected.state_dict().items(), objective.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_scores_that_are_no_numbers_are_no_auc(noise, tmp_path):
    with pytest.raises(DfdError, match=r"validation scores are not finite in epoch 0: lower optimizer\.lr"):
        run(noise, tmp_path, epochs=2, lr=1e30)
    assert not (tmp_path / "checkpoints" / "best.ckpt").exists()


def test_the_best_epoch_is_known_where_a_run_folder_was_moved(noise, tmp_path):
    trainer, _ = run(noise, tmp_path / "before", epochs=2)
    best = trainer.checkpoint_callback.best_model_score
    (tmp_path / "before").rename(tmp_path / "after")
    trainer, _ = run(noise, tmp_path / "after", epochs=2, resume=True)
    assert trainer.checkpoint_callback.best_model_score == best
    assert trainer.checkpoint_callback.best_model_path == str(tmp_path / "after" / "checkpoints" / "best.ckpt")


def test_a_network_in_double_precision_gets_its_pixels_so(noise):
    network = MesoInception4(32).double()
    scoring = ViewScoring(network)
    batch = next(iter(FaceDataModule(noise, network.input, batch_size=4, workers=0).val_dataloader()))
    moved = scoring.transfer_batch_to_device(dict(batch), torch.device("meta"), 0)
    assert moved["pixels"].device.type == moved["label"].device.type == "meta"
    assert moved["t"].device.type == moved["draw"].device.type == "cpu"  # MPS has no float64
    assert scoring.on_after_batch_transfer(batch, 0)["pixels"].dtype == torch.float64


def test_one_class_alone_is_refused_where_the_objective_needs_both(noise, tmp_path):
    fakes = Manifest(tuple(r for r in noise.records if r.label == 1 or r.split != "train"), noise.folder)
    with pytest.raises(DfdError, match=r"train split holds only fake videos \(8\): Classification needs both classes"):
        run(fakes, tmp_path, epochs=1)


def test_a_log_has_a_line_per_epoch(noise, tmp_path, caplog):
    caplog.set_level(logging.INFO, "dfd")
    run(noise, tmp_path, epochs=2, callbacks=[EpochLines()])
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("epoch ")]
    number = r"[\d.]+"
    clock = r"\d:\d\d:\d\d"
    measures = rf"train/loss {number}, val/loss {number}, val/ap {number}, val/auc {number}"
    assert len(lines) == 2
    for epoch, line in enumerate(lines, 1):
        pattern = rf"epoch {epoch}/2, {measures}, {number} batches/s, {clock} an epoch, {clock} left"
        assert re.fullmatch(pattern, line), line


def test_a_terminal_with_a_progress_bar_needs_no_lines(noise, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "dfd")
    monkeypatch.setattr("dfd.training.epoch_lines.sys.stdout.isatty", lambda: True)
    run(noise, tmp_path, epochs=1, callbacks=[EpochLines()])
    assert not any(record.getMessage().startswith("epoch ") for record in caplog.records)
