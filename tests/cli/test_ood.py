"""From a classifier of drawn pictures to an answer or none: train, abnormality, the zoo, predict."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from dfd.core.bank import FeatureBank, Fitted
from dfd.core.records import Record
from dfd.evaluation.ood.report import write_ood_report
from dfd.evaluation.ood.scores import read_scores
from dfd.inference.ood import _scored
from tests.cli.conftest import SMALL, run

TINY = [
    "data.sample.pictures=16", "data.loader.workers=0", "data.loader.batch_size=16", "trainer.max_epochs=1",
    "trainer.limit_train_batches=3", "eval.resamples=20", "ood.resamples=40", "callbacks.progress=null",
]  # fmt: skip
UNET = ["model.network.size=32", "model.network.depth=3", "model.network.width=4"]
OUTLIERS = "data.index.outliers=[crn,imle]"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder after a classifier and an abnormality module were trained on the drawn CDDB."""
    folder = tmp_path_factory.mktemp("pictures")
    done = run(folder, "python train.py model=unet_scorer data=cddb name=base", *TINY, *UNET)
    assert done.returncode == 0, done.stderr[-3000:]
    command = (
        f"python train.py model=abnormality model.base=outputs/base data=cddb {OUTLIERS} name=abnormal posthoc=all"
    )
    done = run(folder, command, *TINY)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def numbers(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_the_zoo_beside_an_abnormality_module(pictures):
    report = pictures / "outputs/abnormal/ood/cddb-sample"
    found = numbers(report)["numbers"]
    assert {"msp", "knn", "vim", "odin", "mc_dropout", "reconstruction", "abnormality"} <= set(found)
    sources = set(found["knn"])
    assert {"all", "all fakes", "all reals", "glow", "wild"} <= sources
    assert not {"crn", "imle", "biggan"} & sources  # trained on
    assert ["msp", "entropy", "gen"] in numbers(report)["alike"]
    facts = json.loads((report / "facts.json").read_text())
    assert {"ensemble", "confidence"} <= set(facts["left_out"])
    assert len(facts["pictures"]["Most out-of-distribution"]) == 6
    page = (report / "report.html").read_text()
    assert "known validation videos only" in page.replace("\n", " ")
    assert "what was not reconstructed" in page


def test_thresholds_come_from_validation_and_scores_can_be_scored_anew(pictures):
    folder = pictures / "outputs/abnormal/ood/cddb-sample"
    table, thresholds = read_scores(folder / "scores.parquet")
    val = table.loc[table["role"] == "val", "ood.knn"]
    assert thresholds["knn"] == pytest.approx(np.quantile(val, 0.95, method="higher"))
    before = numbers(folder)
    (folder / "metrics.json").unlink()
    write_ood_report(folder, resamples=40)
    assert numbers(folder) == before
    rejected = before["answers"]["knn"]
    assert {"jpeg75 rejected", "resize rejected", "light_noise rejected"} <= set(rejected)
    changed = table.loc[table["role"] == "benign/jpeg75", "ood.knn"]
    assert rejected["jpeg75 rejected"] == pytest.approx((changed > thresholds["knn"]).mean())


def test_strange_is_what_the_run_has_not_seen(pictures):
    command = "python eval.py run=outputs/base data=cddb posthoc=[msp,knn,ensemble] ood.ensemble=[outputs/base]"
    done = run(pictures, command, *TINY[:2], "ood.resamples=40", "data.index.ood_label=fake_only", "output=again")
    assert done.returncode == 0, done.stderr[-3000:]
    sources = set(numbers(pictures / "again")["numbers"]["knn"])
    assert {"crn", "deepfake", "glow"} <= sources
    assert "all reals" not in sources
    assert Fitted.read(pictures / "outputs/base/ood/detectors/knn.npz").threshold > 0


def test_predict_answers_or_abstains(pictures):
    files = pictures / "files"
    files.mkdir(exist_ok=True)
    for source in ("biggan", "wild"):
        for path in sorted((pictures / f"data/sample/cddb/{source}/val/0_real").iterdir()):
            (files / f"{source}-{path.name}").write_bytes(path.read_bytes())
    command = "python predict.py run=outputs/abnormal input=files ood=mahalanobis output=verdicts"
    done = run(pictures, command)
    assert done.returncode == 0, done.stderr[-2000:]
    table = pd.read_csv(pictures / "verdicts/verdicts.csv")
    assert set(table["verdict"]) <= {"real", "fake", "inconclusive"}
    reasons = table.loc[table["verdict"] == "inconclusive", "reason"]
    assert reasons.notna().all()
    strange = table["reason"].astype(str).str.contains("unlike what the detector knows: mahalanobis")
    assert (table.loc[strange, "verdict"] == "inconclusive").all()
    fitted = Fitted.read(pictures / "outputs/abnormal/ood/detectors/mahalanobis.npz")
    scores, _ = read_scores(pictures / "outputs/abnormal/ood/cddb-sample/scores.parquet")
    tested = scores[(scores["role"] == "test") & scores["video"].str.startswith("biggan/val/0_real")]
    expected = (tested["ood.mahalanobis"] > fitted.threshold).sum()
    assert table["file"].str.contains("biggan").sum() == len(tested)
    assert strange[table["file"].str.contains("biggan")].sum() == expected


def test_a_person_of_one_dataset_is_none_of_another():
    def groups(dataset):
        record = Record("v", dataset, "test", 0, "v.mp4", "person7")
        one = np.zeros(1)
        texts = {name: np.array([name]) for name in ("source", "group")}
        bank = FeatureBank(
            np.zeros((1, 2)), np.zeros((1, 3)), one, np.array(["v"]), t=one, extra={"score": one}, **texts
        )
        return _scored("test", bank, [record], {}, (np.zeros(3), np.zeros((3, 2))))["group"].tolist()

    assert groups("a") == groups("a") != groups("b")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("python train.py model=abnormality data=cddb", r"needs a trained run as its base: model\.base="),
        ("python eval.py run=outputs/base posthoc=[mahalonobis]", "did you mean 'mahalanobis'"),
        ("python eval.py run=outputs/abnormal", "tells unknown data from known, not fake from real"),
        ("python train.py model=meso data=cddb posthoc=[kn]", "no detector 'kn'"),
        ("python train.py model=meso data=cddb posthoc=[knn] ood.id_kept=95", "ood.id_kept=95: expected a share"),
        ("python predict.py run=outputs/base input=files ood=ash2", "ood=ash2: fitted on this run are"),
        ("python train.py model=unet_scorer data=cddb data.index.scenario=grup", "scenario=grup: choose from"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(pictures, command, message):
    (pictures / "files").mkdir(exist_ok=True)
    done = run(pictures, command, *(TINY if "train.py" in command else TINY[:0]))
    assert done.returncode == 2, done.stderr[-2000:]
    assert re.search(message, done.stderr.strip().splitlines()[-1])


def test_left_out_methods_of_faces_are_strange(workplace):
    """FaceForensics++ with one manipulation left out of training, then shown."""
    three = "data.index.methods=[Deepfakes,Face2Face,FaceSwap]"
    more = [*SMALL, "data.loader.batch_size=8"]
    fit = [
        *more,
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=2",
        "model.network.size=32",
        "data.loader.visits=1",
    ]
    done = run(workplace, f"python train.py model=meso data=ffpp name=three {three} data.loader.eval_frames=2", *fit)
    assert done.returncode == 0, done.stderr[-3000:]
    more += ["ood.resamples=40", "ood.benign=[jpeg75]", "data.loader.eval_frames=2"]
    command = "python eval.py run=outputs/three data=ffpp posthoc=[msp,knn,relative_mahalanobis]"
    done = run(workplace, f"{command} data.index.methods=[NeuralTextures]", *more)
    assert done.returncode == 0, done.stderr[-3000:]
    assert set(numbers(workplace / "outputs/three/ood/ffpp-sample")["numbers"]["knn"]) == {"all"}
    done = run(workplace, command, *more)
    assert done.returncode == 2
    assert "nothing in ffpp-sample is unknown to the run, which has seen" in done.stderr
