"""Pictures reach whatever logger a run has."""

import numpy as np
import pytest
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from dfd.training.figures import log_picture, side_by_side

PICTURE = np.full((4, 6, 3), 200, np.uint8)


class Recorder:
    """Stands for a client of a logger; keeps what it was asked."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *args, **options: self.calls.append((name, args, options))


def stand_in(name):
    """A logger by the name of one whose package is not installed here."""
    kind = type(name, (), {"save_dir": None, "run_id": "7"})
    logger = kind()
    logger.experiment = Recorder()
    logger.log_image = logger.experiment.log_image
    return logger


@pytest.mark.parametrize("name", ["WandbLogger", "MLFlowLogger", "CometLogger"])
def test_clients_get_the_picture(name):
    logger = stand_in(name)
    log_picture(logger, "val/curves", PICTURE, 3)
    ((called, args, options),) = logger.experiment.calls
    assert called == "log_image"
    given = [*args, *options.values()]
    assert any(each is PICTURE or (isinstance(each, list) and each[0] is PICTURE) for each in given)
    assert any("val/curves" in str(each) for each in given if not isinstance(each, (np.ndarray, list)))


def test_files_are_written_beside_a_table(tmp_path):
    logger = CSVLogger(tmp_path, "csv", "")
    log_picture(logger, "val/curves", PICTURE, 3)
    assert [path.name for path in tmp_path.rglob("*.png")] == ["curves-000003.png"]


def test_tensorboard_keeps_it(tmp_path):
    logger = TensorBoardLogger(tmp_path, "board", "")
    log_picture(logger, "val/curves", PICTURE, 3)
    logger.finalize("success")
    assert list(tmp_path.rglob("events.out.tfevents*"))


def test_pictures_stand_in_a_row():
    row = side_by_side([np.zeros((3, 8, 8), np.uint8), np.ones((3, 8, 8), np.uint8)])
    assert row.shape == (8, 8 + 4 + 8, 3)
