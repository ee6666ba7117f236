"""All processes of a job write to one run folder, which is found again."""

import io
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from torch.distributed import TCPStore

from dfd.cli.run_folders import open_folder, saved_config
from dfd.cli.sweeps.summary import note_evaluations
from dfd.core.errors import DfdError
from dfd.core.process_group import is_first, job_name
from dfd.core.run_folder import newest, start_notes


def test_slurm_names_a_run_by_its_job():
    names = {
        job_name({"SLURM_NTASKS": "2", "SLURM_PROCID": str(rank), "SLURM_JOB_ID": "71", "SLURM_STEP_ID": "0"})
        for rank in range(2)
    }
    assert names == {"71-0"}
    assert job_name({"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_JOB_ID": "71"}).startswith("20")  # a date


def test_commands_of_one_slurm_job_have_names_of_their_own():
    batch = {"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_ID": "71"}
    shell = batch | {"SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1"}
    for environment in (batch, shell):
        assert job_name(environment).startswith("20")  # a date


@pytest.mark.parametrize("job", ["20260101-000000", "71-0", "71"])
def test_the_newest_run_of_a_model_is_no_other_models(tmp_path, job):
    for number, name in enumerate(("vit", "vit_b7", "vit_autoencoder")):
        last = tmp_path / f"ffpp-sample_{name}_{job}" / "checkpoints" / "last.ckpt"
        last.parent.mkdir(parents=True)
        last.touch()
        os.utime(last, (number, number))
    assert newest(tmp_path, "ffpp-sample_vit").name == f"ffpp-sample_vit_{job}"
    with pytest.raises(DfdError, match="no run ffpp_vit_"):
        newest(tmp_path, "ffpp_vit")


def test_a_checkpoint_alone_takes_no_configuration_that_lies_above_it(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    assert saved_config(tmp_path / "checkpoints" / "best.ckpt") == {"seed": 1}
    assert saved_config(tmp_path / "weights" / "best.ckpt") is None


def test_run_folders_are_utf8_whatever_the_system_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(io, "text_encoding", lambda given, level=2: given or "ascii")
    monkeypatch.setattr("dfd.core.run_folder.git", lambda *_: "+ é")
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    open_folder(tmp_path, OmegaConf.create({"name": "modèle"}))
    logging.getLogger("dfd").error("modèle")
    start_notes(tmp_path, {"name": "modèle"})
    note_evaluations(tmp_path, [Path("modèle")])
    assert OmegaConf.load(tmp_path / "config.yaml").name == "modèle"
    assert "modèle" in (tmp_path / "run.log").read_text(encoding="utf-8")
    assert (tmp_path / "uncommitted.patch").read_text(encoding="utf-8") == "+ é\n"


def test_torchrun_tells_all_processes_what_the_first_chose(monkeypatch):
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    dates = iter(["20260101-000000", "20260101-000001"])
    monkeypatch.setattr("dfd.core.process_group._date", lambda: next(dates))
    common = {
        "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_USE_AGENT_STORE": "True", "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port),
    }  # fmt: skip
    with ThreadPoolExecutor(2) as pool:
        second = pool.submit(job_name, common | {"RANK": "1"})
        first = pool.submit(job_name, common | {"RANK": "0"})
        assert first.result(30) == second.result(30) == "20260101-000000"


def test_machines_that_cannot_agree_need_a_name():
    with pytest.raises(DfdError, match="several machines without torchrun or SLURM: give name="):
        job_name({"NODE_RANK": "1"})


@pytest.mark.parametrize(
    ("environment", "first"),
    [({}, True), ({"RANK": "0"}, True), ({"RANK": "1"}, False), ({"SLURM_PROCID": "3"}, False)],
)  # fmt: skip
def test_who_is_first(environment, first):
    assert is_first(environment) == first
