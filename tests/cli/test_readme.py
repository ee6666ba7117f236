"""The README's commands run as typed, scaled down; so do wrong ones, each to one line that helps."""

import re
import shutil

import pandas as pd
import pytest

from tests.cli.conftest import QUICK, ROOT, SMALL, run


def readme_commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    commands = [line for line in lines if line.startswith(("python ", "dfd-")) and "-m venv" not in line]
    return [command for command in commands if not command.startswith("dfd-serve")]  # tests/serving has a server


def scaled_down(command: str) -> list[str]:
    """What makes a command of the README quick without changing what it does."""
    if "hparams_search" in command:
        return [*QUICK, "hparams_search.trials=2", "sweep=search"]
    if "train.py -m" in command:
        return [*(key for key in QUICK if "network.size" not in key), "model.network.size=64"]
    if "model=tall" in command:
        return [*QUICK, "model.network.resize=official"]
    if "train.py" in command:
        return [*QUICK, *(["model.network.pretrained=false"] if "efficientnet" in command else [])]
    if "preprocess.py" in command:
        return SMALL[:3]
    if "dfd-preview" in command:
        return SMALL
    if "eval.py" in command and "data=" in command:
        return [*SMALL, "data.loader.eval_frames=2"]
    return []


@pytest.mark.slow
@pytest.mark.parametrize("command", readme_commands())
def test_every_command_of_the_readme_runs(workplace, command):
    typed = command.replace("/data/FaceForensics++", "FaceForensics++").replace("FOLDER", "FaceForensics++")
    done = run(workplace, typed, *scaled_down(command))
    told = (0, 3, 10, 11) if command.startswith("dfd-scan") else (0,)  # what it found
    assert done.returncode in told, (done.stdout[-1000:], done.stderr[-3000:])
    if "hparams_search" in command:
        assert len(pd.read_csv(workplace / "outputs/sweeps/search/sweep.csv")) == 2
    elif "train.py -m" in command:
        sweeps = (workplace / "outputs" / "sweeps").iterdir()
        alike = [path for path in sweeps if sum(job.is_dir() for job in path.iterdir()) == 4]
        sweep = max(alike, key=lambda path: path.stat().st_mtime)
        assert (sweep / "comparison.csv").is_file()
        assert len(pd.read_csv(sweep / "comparison.csv")) == 4
    if "dfd-preview" in command:
        assert (workplace / "outputs/previews/ffpp-sample_meso.png").is_file()
    if "explain=true" in command:
        assert list((workplace / "outputs/demo/predict").rglob("*_clip_explained.png"))


@pytest.mark.slow
def test_nothing_is_scaled_down_where_a_root_is_given_or_the_user_chose(workplace):
    own = (workplace / "outputs/demo/config.yaml").read_text()
    assert "size: 32" in own  # the user's, not the sample's 128
    assert "max_epochs: 1\n" in own


@pytest.mark.slow
def test_a_checkpoint_alone_is_enough_from_any_folder(workplace, tmp_path):
    shutil.copy(workplace / "outputs/demo/checkpoints/best.ckpt", tmp_path / "mine.ckpt")
    done = run(
        tmp_path, f"python eval.py run=mine.ckpt data=ffpp data.root={workplace / 'FaceForensics++'}",
        "data.loader.workers=0", "data.loader.eval_frames=2", "eval.resamples=20",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = pd.read_parquet(tmp_path / "eval/ffpp-test/predictions.parquet")
    ours = pd.read_parquet(workplace / "outputs/demo/eval/ffpp-sample-test/predictions.parquet")
    assert list(theirs["video"].unique()) == list(ours["video"].unique())
    assert theirs["score"].to_numpy() == pytest.approx(ours["score"].to_numpy(), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("python train.py sede=1", "did you mean 'seed'"),
        ("python train.py trainer.max_epoch=1", "did you mean 'max_epochs'"),
        ("python train.py seed=abc", "'abc' of type 'str' could not be converted to Integer"),
        ("python train.py data=ffpp data.root=nowhere", r"no FaceForensics\+\+ at .*nowhere"),
        ("python train.py model=mesoo", "Could not find 'model/mesoo'"),
        ("python train.py ckpt_path=last model=vit", "no run ffpp-sample_vit_"),
        ("python train.py name=demo model=meso", "holds a run already"),
        ("python train.py name=demo model=resnet50 ckpt_path=last", "is a checkpoint of another model"),
        ("python train.py model=meso data=ffpp eval.pool=avg", "eval.pool='avg': allowed are"),
        ("python eval.py run=nowhere", "no run at .*nowhere"),
        ("python eval.py run=clip.mp4", "is not a checkpoint"),
        ("python predict.py run=outputs/demo input=none.mp4", "no such file or folder"),
        ("python predict.py run=outputs/demo input=README.txt", "none of the 1 file.s. could be judged"),
        ("python predict.py run=outputs/demo input=clip.mp4 device=tpu9", "device=tpu9 is not available"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(workplace, command, message):
    (workplace / "README.txt").write_text("not a video")
    more = [*QUICK, "model.network.pretrained=false"] if "resnet50 ckpt" in command else []
    before = (workplace / "outputs/demo/recipe.yaml").read_text()
    done = run(workplace, command, *more)
    assert (workplace / "outputs/demo/recipe.yaml").read_text() == before
    assert done.returncode == 2, done.stderr[-2000:]
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert re.search(message, last), last
    assert "Traceback" not in done.stderr


def test_help_shows_examples_and_groups(tmp_path):
    done = run(tmp_path, "python train.py --help")
    assert done.returncode == 0
    assert "model: abnormality, actionformer," in done.stdout
    assert "--config-dir" in done.stdout
    assert "ckpt_path=last" in done.stdout
