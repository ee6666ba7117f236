"""A device, memory or a disk that is not there: one line that helps, and the old checkpoint stays."""

import errno
import resource

import pytest
import torch

from dfd.core.errors import DfdError
from dfd.training.device_errors import check_device, explain_failures
from dfd.training.sharding import Sharded
from dfd.training.trainer import Trainer, WriteBeside

TRAINER = {"accelerator": "cpu", "devices": 1, "precision": "32-true"}


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "an old GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", 32, "64-true"])
def test_what_a_cpu_can_do_is_let_through(precision):
    check_device(TRAINER | {"precision": precision})
    check_device(TRAINER | {"accelerator": "auto", "devices": "auto"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "16-mixed"}, "a CPU cannot do it"),
        ({"precision": "bf16-true"}, "allowed are 32-true, bf16-mixed, 16-mixed, 64-true"),
        ({"precision": "fp8"}, "allowed are 32-true, bf16-mixed"),
        ({"accelerator": "abacus"}, "allowed are auto, gpu"),
    ],
)
def test_what_a_cpu_cannot_do_is_said(change, message):
    with pytest.raises(DfdError, match=message):
        check_device(TRAINER | change)


def test_a_gpu_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DfdError, match=r"no such device here .* finds cpu"):
        check_device(TRAINER | {"accelerator": "gpu"})


@pytest.mark.parametrize("devices", [1, 2, "2", [0, 1], "0,1", "auto", -1])
def test_gpus_that_are_there_are_let_through(two_gpus, devices):
    check_device({"accelerator": "gpu", "devices": devices, "precision": "16-mixed"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"devices": 3}, "this machine has 2 GPU"),
        ({"devices": [2]}, "this machine has 2 GPU"),
        ({"precision": "bf16-mixed"}, "an old GPU cannot do it; 16-mixed works"),
    ],
)
def test_gpus_that_are_not_there_or_too_old_are_said(two_gpus, change, message):
    with pytest.raises(DfdError, match=message):
        check_device({"accelerator": "gpu", "devices": 1, "precision": "16-mixed"} | change)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: ..."),
        MemoryError(),
    ],
)
def test_out_of_memory_names_the_knob_and_the_checkpoint(tmp_path, error):
    with (
        pytest.raises(DfdError, match=r"batch_size=32: try 16 with .*accumulate.*no epoch was finished"),
        explain_failures(tmp_path, 32),
    ):
        raise error
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    with pytest.raises(DfdError, match=r"last\.ckpt is whole: ckpt_path=last"), explain_failures(tmp_path, 1):
        raise error


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="a bug"), explain_failures(tmp_path, 1):
        raise RuntimeError("a bug")
    with pytest.raises(OSError), explain_failures(tmp_path, 1):
        raise OSError(errno.EACCES, "permission denied")


def test_a_full_disk_leaves_the_old_checkpoint_and_says_so(tmp_path):
    path = tmp_path / "checkpoints" / "last.ckpt"
    WriteBeside().save_checkpoint({"weights": torch.zeros(10)}, path)
    before = path.read_bytes()
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(DfdError, match=r"no room to write .*last\.ckpt is whole"), explain_failures(tmp_path, 1):
            WriteBeside().save_checkpoint({"weights": torch.zeros(1_000_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["last.ckpt"]
    assert torch.load(path, weights_only=True)["weights"].shape == (10,)


def test_every_trainer_writes_so():
    quiet = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    for strategy in ("auto", Sharded()):
        assert isinstance(Trainer(strategy=strategy, **quiet).strategy.checkpoint_io, WriteBeside)
