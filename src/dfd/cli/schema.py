"""The typed roots of the configuration: a misspelt key or a value of a wrong type fails before anything runs."""

from dataclasses import dataclass, field, fields
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class Decode:
    """How a localiser's candidates become proposals: `dfd.metrics.proposals.Decoding`.

    null: what the run chose on validation, else the default. A list is tried on validation, with every other list, and
    the best mean AP decides.
    """

    method: Any = None  # gaussian | linear | hard | bmn | none
    sigma: Any = None
    iou: Any = None  # from which hard and linear suppression act
    min_score: Any = None
    top: Any = None  # candidates of a file
    limit: Any = None  # proposals of a file
    voting: Any = None  # IoU from which candidates move a proposal; 0: none


@dataclass
class Evaluation:
    """How predictions become numbers: `dfd.evaluation.protocol.Protocol`, whose presets lie in `configs/eval/`."""

    name: str = "video"
    level: str = "video"
    pool: str = "mean"
    tracks: str = "max"
    frames: int | None = None
    pick: str = "spread"
    no_face: str = "exclude"
    threshold: float = 0.5
    clip: float = 1e-7
    resamples: int = 500
    confidence: float = 0.95
    calibration: str = "temperature"
    false_alarms: float = 0.05
    headline: list[str] = field(default_factory=lambda: ["auc", "ap", "eer", "accuracy", "log_loss"])
    compatible: str | None = None
    decode: Decode = field(default_factory=Decode)  # of localisers


@dataclass
class Corruption:
    """What is done to a test split's videos before their faces are cut; every kind at every level."""

    name: str = "none"
    kinds: list[str] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    keep: bool = True


@dataclass
class Ood:
    """Out-of-distribution (OOD) detection."""

    id_kept: float = 0.95  # the share of known validation videos that a threshold lets pass
    fit_limit: int = 5000  # training videos that detectors are fitted on
    resamples: int = 500  # behind every interval
    tune: list[str] = field(  # synthetic outliers of validation videos, to choose options on
        default_factory=lambda: ["blur", "noise", "jpeg", "blend", "spectrum", "resample", "shuffle", "cutmix"]
    )
    benign: list[str] = field(default_factory=lambda: ["jpeg75", "resize", "light_noise"])  # must not be rejected
    benign_limit: int = 1000  # test videos that are changed
    ensemble: list[str] = field(default_factory=list)  # more runs, for posthoc=[ensemble]
    keep_banks: bool = False  # write the feature banks too


@dataclass
class Teacher:
    """Who a model learns from besides the labels: `dfd.training.distillation.Distillation`."""

    run: str | None = None  # a run folder or a checkpoint file; null: nobody
    kind: str = "soft_bce"  # soft_bce | soft_kl | hard
    alpha: float = 0.5  # the share of the labels
    tau: float = 1.0  # temperature
    mode: str = "eval"  # eval | train: its statistics drift, as in the published code
    precision: str = "auto"  # auto: bf16 on CUDA | bf16 | fp32
    cache: bool = False  # ask it once, about clean views, instead of about every augmented one


@dataclass
class HparamsSearch:
    """How `hparams_search=optuna` looks for the best values."""

    trials: int = 20  # in all: with more, a search that ended goes on
    jobs: int | None = None  # at a time; null: as many as the launcher runs
    sampler: str = "tpe"  # tpe | random
    startup: int = 5  # random trials before the others build on them; none is given up before as many have ended
    pruner: str = "median"  # median | halving | none: when a trial is given up, by its metric after every epoch
    warmup: int = 1  # epochs that every trial gets
    retries: int = 2  # how often a trial goes on whose process died
    seed: int = 0  # of the proposals
    space: dict[str, str | None] = field(default_factory=dict)  # what is searched where the command names no axis
    trial: int | None = None  # set by the search itself


@dataclass
class Root:
    """What every command shares."""

    sweep: str | None = None  # with -m: the name of its folder; the same command with the same name goes on
    plugins: list[str] = field(default_factory=list)  # packages of your own whose classes may be built
    help: Any = None


@dataclass
class Train(Root):
    """python train.py"""

    run: str | None = None  # a run folder whose configuration is run again, with the other values given here
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
    teacher: Teacher = field(default_factory=Teacher)
    posthoc: Any = None  # out-of-distribution detectors to report on at the end: all, or a list
    ood: Ood = field(default_factory=Ood)
    hparams_search: HparamsSearch = field(default_factory=HparamsSearch)
    sample: dict[str, Any] = field(default_factory=dict)  # what is scaled down when the rendered sample stands in


@dataclass
class Eval(Root):
    """python eval.py"""

    run: str = MISSING  # a run folder or a checkpoint file
    split: str = "test"  # test | val | train
    output: str | None = None  # null: <run>/eval/<data>-<split>
    seed: int = 0
    data: Any = None
    trainer: Any = MISSING
    paths: Any = MISSING
    eval: Evaluation = field(default_factory=Evaluation)
    corruption: Corruption = field(default_factory=Corruption)
    roots: Any = None  # where each of several datasets lies: {ffpp: /data/ffpp}
    oracle: bool = False  # also score every other checkpoint of the run, to show what choosing on test would gain
    posthoc: Any = None  # evaluate out-of-distribution detectors instead: all, or a list
    ood: Ood = field(default_factory=Ood)
    run_dir: str | None = None


@dataclass
class Predict(Root):
    """python predict.py"""

    run: Any = MISSING  # a run folder or a checkpoint file; several, [a,b,c], are averaged
    input: Any = MISSING  # a video, an image, a folder, a pattern; or a list of them
    output: str | None = None  # null: <run>/predict/<date>
    threshold: float | None = None  # null: what the run's validation chose, else 0.5
    ood: str | None = None  # an OOD detector that posthoc=[...] fitted: what it rejects is inconclusive
    frames: int | None = None  # looked at per video, for image networks; null: as in the run's evaluation
    faces: int = 1  # at most so many people of a video
    strategy: str | None = None  # mean | confident | max | tracks (most suspect person) ...; null: as validation pooled
    batch_size: int = 32  # views that the network sees at once
    workers: int | None = None  # processes that decode and find faces; null: one per core; 0: in this process
    allow_sample: bool = False  # let a run that was trained on the rendered sample judge real media
    seconds: float = 60.0  # that one file may take to decode and to find its faces
    memory: float = 2.0  # GiB that one file may take for that
    # write what speaks for "fake" in each file: a picture; of talking faces panels and tables
    explain: Any = False  # false | true (HiResCAM) | gradcam | gradcam++
    original_files: bool = False  # also output.log and testing_scores.npy, as the code of AVAD writes them
    device: str = "auto"  # auto | cpu | cuda | cuda:1 | mps


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
    memory: float = 8.0  # GiB that a process may grow by for one file (Linux and device=cpu only); 0: no limit
    against: list[str] = field(default_factory=list)  # folders of other prepared datasets, for the stage leakage
    data: Any = MISSING
    paths: Any = MISSING


ROOTS = {"train": Train, "eval": Eval, "predict": Predict, "preprocess": Preprocess}
ROOT_KEYS = sorted({key.name for root in ROOTS.values() for key in fields(root)})


def register() -> None:
    """Make the roots known to Hydra."""
    for name, node in ROOTS.items():
        ConfigStore.instance().store(name=f"{name}_schema", node=node)
