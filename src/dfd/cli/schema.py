"""The typed roots of the configuration: a misspelt key or a value of a wrong type fails before anything runs."""

from dataclasses import dataclass, field, fields
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class Evaluation:
    """How predictions become numbers."""

    threshold: float = 0.5
    resamples: int = 1000  # of the group bootstrap behind every interval


@dataclass
class Root:
    """What every command shares."""

    plugins: list[str] = field(default_factory=list)  # packages of your own whose classes may be built
    help: Any = None


@dataclass
class Train(Root):
    """python train.py"""

    seed: int = 0
    name: str | None = None  # of the run folder; null: <data>_<model>_<date>
    run_dir: str | None = None  # the run folder itself; null: <paths.output_dir>/<name>
    ckpt_path: str | None = None  # a checkpoint to go on from, or `last`: the newest run of this model and data
    test: bool = True  # evaluate the best checkpoint on the test split at the end
    shuffle_labels: bool = False  # train on shuffled labels: an honest pipeline then scores 0.5
    metric: str = "val/auc"  # what a sweep optimises: the best value over epochs
    model: Any = MISSING
    data: Any = MISSING
    optimizer: Any = MISSING
    scheduler: Any = None
    augment: Any = None
    trainer: Any = MISSING
    callbacks: Any = None
    logger: Any = None
    paths: Any = MISSING
    eval: Evaluation = field(default_factory=Evaluation)
    sample: dict[str, Any] = field(default_factory=dict)  # what is scaled down when the rendered sample stands in


@dataclass
class Eval(Root):
    """python eval.py"""

    run: str = MISSING  # a run folder or a checkpoint file
    split: str = "test"
    output: str | None = None  # null: <run>/eval/<data>-<split>
    seed: int = 0
    data: Any = None
    trainer: Any = MISSING
    paths: Any = MISSING
    eval: Evaluation = field(default_factory=Evaluation)
    run_dir: str | None = None


@dataclass
class Predict(Root):
    """python predict.py"""

    run: str = MISSING  # a run folder or a checkpoint file
    input: str = MISSING  # a video, an image, or a folder of them
    output: str | None = None  # null: <run>/predict/<date>
    threshold: float = 0.5
    frames: int = 32  # looked at per video, for image networks
    batch_size: int = 32
    device: str = "auto"


@dataclass
class Preprocess(Root):
    """python preprocess.py"""

    stages: list[str] = field(default_factory=lambda: ["crop"])  # probe detect track crop landmarks masks folds leakage
    workers: int | None = None  # null: one per core; 0: in this process
    device: str = "cpu"  # of the face detector
    launcher: str = "local"  # local | ray: where the work is done
    address: str | None = None  # of a running Ray cluster; null: one is started here
    shard: str | None = None  # i/n: do only this share (SLURM arrays); a call without it collects the tables
    limit: float = 1800.0  # seconds for one file
    against: list[str] = field(default_factory=list)  # folders of other prepared datasets, for the stage leakage
    data: Any = MISSING
    paths: Any = MISSING


ROOTS = {"train": Train, "eval": Eval, "predict": Predict, "preprocess": Preprocess}
ROOT_KEYS = sorted({key.name for root in ROOTS.values() for key in fields(root)})


def register() -> None:
    """Make the roots known to Hydra."""
    for name, node in ROOTS.items():
        ConfigStore.instance().store(name=f"{name}_schema", node=node)
