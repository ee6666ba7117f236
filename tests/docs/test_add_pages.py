"""The code of the add-a pages, typed into a package of the reader's own, does what the pages say."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cli.conftest import ROOT, SMALL, run
from tests.conftest import draw_head, write_video

pytestmark = pytest.mark.slow


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """A folder with the pages' code as a package, their configurations, and clips for the dataset."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "mylab").mkdir()
    (folder / "mylab/__init__.py").touch()
    for page, module in (("add_a_detector.md", "tiny"), ("add_a_dataset.md", "mine"), ("add_a_stage.md", "quality")):
        (folder / f"mylab/{module}.py").write_text(blocks(page, "python")[0])
    for page, path, ours in (
        ("add_a_detector.md", "model/tiny.yaml", "dfd.models.tiny"),
        ("add_a_dataset.md", "data/mine.yaml", "dfd.data.datasets.mine"),
    ):
        target = folder / "myconfigs" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(blocks(page, "yaml")[0].replace(ours, f"mylab.{target.stem}"))
    for person in range(12):
        for kind in ("real", "fake"):
            frames = [draw_head(2 * person + i + 5 * (kind == "fake")) for i in range(8)]
            write_video(folder / f"clips/{kind}/{person:02d}_{kind}.mp4", frames)
    tests = [f"{person:02d}_{kind}.mp4" for person in (0, 1, 2) for kind in ("real", "fake")]
    (folder / "clips/test.txt").write_text("\n".join(tests))
    return folder


DATA = ["data=mine", "data.root=clips", "plugins=[mylab]", "data.crops.groups=2", "data.loader.workers=0"]


def test_a_detector_and_a_dataset_train_evaluate_and_predict(lab):
    few = ["trainer.max_epochs=1", "data.loader.visits=1", "data.loader.batch_size=8", "eval.resamples=20"]
    done = run(lab, "dfd-train --config-dir myconfigs model=tiny name=mine posthoc=[]", *DATA, *few)
    assert done.returncode == 0, done.stderr[-3000:]
    table = pd.read_parquet(lab / "outputs/mine/eval/mine-test/predictions.parquet")
    assert sorted(table["group"].unique()) == ["00", "01", "02"]
    done = run(lab, "dfd-eval --config-dir myconfigs run=outputs/mine", *DATA, "eval.resamples=20")
    assert done.returncode == 0, done.stderr[-3000:]
    done = run(lab, "dfd-predict run=outputs/mine input=clips/real/00_real.mp4 plugins=[mylab] output=judged")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (lab / "judged/verdicts.csv").is_file()


def test_without_its_plugin_nothing_of_it_is_built(lab):
    done = run(lab, "dfd-train --config-dir myconfigs model=tiny data=ffpp", *SMALL)
    assert done.returncode == 2
    assert "plugins" in done.stderr.strip().splitlines()[-1]


def test_a_stage_makes_its_files_and_its_line(lab):
    command = "dfd-preprocess --config-dir myconfigs stages=[crop,blurred] plugins=[mylab,mylab.quality]"
    done = run(lab, command, *[word for word in DATA if not word.startswith(("plugins", "data.loader"))])
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"\d+ of 24 videos are blurred", done.stdout)
    made = list((lab / "data").rglob("*sharpness*/**/*.npy"))
    assert len(made) == 24
    assert (np.load(made[0]) > 0).all()
