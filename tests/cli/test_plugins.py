"""A package of the user's own: its data module, baseline and abnormality network work to the end of every command."""

import json

import pytest

from tests.cli.conftest import run
from tests.cli.test_ood import TINY

PACKAGE = '''
"""What a lab keeps outside dfd."""

import torch
from torch import nn

from dfd.data.image_datamodule import ImageDataModule
from dfd.models.base import Detector
from dfd.models.meso import MesoInception4


class Pictures(ImageDataModule):
    """Whole pictures, as ours."""


class Baseline(MesoInception4):
    """A network that reports list as a baseline."""

    is_baseline = True


class Outlier(Detector):
    """Judges how unlike its training data a base finds a view."""

    looks_at_base = True

    def __init__(self, base, variant="any", final_activation="none"):
        super().__init__(base.input, "random weights over a base")
        self.base = base.requires_grad_(False).eval()
        self.width = self.base(torch.zeros(1, *base.input.shape)).features.shape[1]
        self.body, self.head = nn.Linear(self.width, 8), nn.Linear(8, 1)

    def train(self, mode=True):
        super().train(mode)
        self.base.eval()
        return self

    def answering(self):
        return self.base

    def forward_features(self, pixels):
        with torch.no_grad():
            features = self.base(pixels * self.std + self.mean).features
        return self.body(features).relu()

    def forward_head(self, features):
        return self.head(features)
'''
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A folder with the package, after both of its networks were trained."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "mylab.py").write_text(PACKAGE)
    own = ["plugins=[mylab]", "data=cddb", "data.loader._target_=mylab.Pictures", *TINY]
    base = ["model=meso", "model.network._target_=mylab.Baseline", "model.network.size=32", "name=base"]
    done = run(folder, "python train.py", *base, *own)
    assert done.returncode == 0, done.stderr[-3000:]
    outlier = ["model=abnormality", "model.base=outputs/base", "model.network._target_=mylab.Outlier", "name=outlier"]
    done = run(folder, "python train.py", *outlier, *own, "posthoc=[msp,abnormality]", "data.index.outliers=[crn,imle]")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_a_baseline_of_a_plugin_is_one_in_reports(lab):
    facts = json.loads((lab / "outputs/base/eval/cddb-sample-test/facts.json").read_text())
    assert facts["probe"] is True


def test_an_abnormality_network_of_a_plugin_is_reported_on(lab):
    numbers = json.loads((lab / "outputs/outlier/ood/cddb-sample/metrics.json").read_text())["numbers"]
    assert {"msp", "abnormality"} <= set(numbers)


def test_both_are_evaluated_again(lab):
    done = run(lab, "python eval.py run=outputs/base plugins=[mylab] output=again", *TINY[:1], "eval.resamples=20")
    assert done.returncode == 0, done.stderr[-3000:]
    done = run(lab, "python eval.py run=outputs/outlier plugins=[mylab]")
    assert "posthoc=[abnormality" in done.stderr
    more = ["posthoc=[abnormality]", "ood.resamples=40", "output=ood", "data.index.outliers=[crn,imle]"]
    done = run(lab, "python eval.py run=outputs/outlier plugins=[mylab]", *more)
    assert done.returncode == 0, done.stderr[-3000:]
    done = run(lab, "python eval.py run=outputs/base")
    assert "plugins=[name]" in done.stderr  # a checkpoint cannot name code that the command does not admit
