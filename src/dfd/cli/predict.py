"""dfd-predict: judge a video, an image, or a folder of them."""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dfd.cli.abstain import INCONCLUSIVE, load_abstainer, look, why_inconclusive
from dfd.cli.app import allowed_networks, command
from dfd.core.bank import Fitted
from dfd.core.errors import DfdError

if TYPE_CHECKING:
    import torch

    from dfd.evaluation.operating import Operating
    from dfd.models.base import Detector
    from dfd.preprocess.crop import CropOptions, Crops
    from dfd.preprocess.faces import FaceDetector

log = logging.getLogger("dfd")


@dataclass(frozen=True)
class Judgement:
    """Scores of one file's views, or the reason why there are none."""

    path: Path
    t: np.ndarray
    score: np.ndarray
    reason: str = ""
    explained: np.ndarray | None = field(default=None, repr=False)  # picture (3, H, W) of what drove the highest score
    strange: str = ""  # why it should not be answered

    @property
    def mean(self) -> float:
        """The file's score: the mean over its views."""
        return float(self.score.mean()) if len(self.score) else float("nan")


def predict(cfg: DictConfig) -> float:
    """Judge every file, print a verdict for each, and write the tables; return the share judged fake."""
    import torch

    from dfd.evaluation.operating import Operating
    from dfd.preprocess.crop import CropOptions
    from dfd.preprocess.faces import MtcnnDetector
    from dfd.training.checkpoint import load_network

    paths = media(Path(cfg.input).expanduser())
    loaded = load_network(Path(cfg.run), allowed_networks(cfg.plugins))
    device = _device(cfg.device)
    network = loaded.network.to(device)
    options = CropOptions(**loaded.card["crops"]) if loaded.card["crops"] else None  # none: pictures as they are
    abstainer = load_abstainer(_run(loaded.path), cfg.ood)
    detector = MtcnnDetector(device=str(device))
    judge = Judge(network, options, detector, cfg.frames, max(1, cfg.batch_size), abstainer, cfg.explain)
    if loaded.card["sample"]:
        log.warning("this detector was trained on the rendered SAMPLE: its verdicts on real media mean nothing")
    judgements = []
    columns = TextColumn("judging"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with torch.no_grad(), Progress(*columns, console=Console(stderr=True)) as progress:
        for path in progress.track(paths):
            judgements.append(judge(path))
    folder = Path(cfg.output) if cfg.output else _run(loaded.path) / "predict" / time.strftime("%Y%m%d-%H%M%S")
    operating = Operating.read(_run(loaded.path)) if cfg.threshold is None else None
    verdicts = write(judgements, 0.5 if cfg.threshold is None else cfg.threshold, folder, operating)
    show(verdicts, folder)
    if not any(len(judgement.score) for judgement in judgements):
        raise DfdError(f"none of the {len(paths)} file(s) could be judged: see the reasons above")
    return float((verdicts["verdict"] == "fake").mean())


def media(path: Path) -> list[Path]:
    """Return the videos and images that a path stands for."""
    from dfd.data.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES

    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DfdError(f"input={path}: no such file or folder")
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in {*IMAGE_SUFFIXES, *VIDEO_SUFFIXES})
    if not found:
        raise DfdError(f"input={path}: no video or image in this folder")
    return found


@dataclass(frozen=True)
class Judge:
    """What looks at files: a network, how faces are found and cut for it, and how much of a file is looked at.

    Without crop options pictures are taken whole. An abstainer says which files are too strange to be answered.
    """

    network: "Detector"
    options: "CropOptions | None"
    detector: "FaceDetector"
    frames: int
    batch_size: int
    abstainer: Fitted | None = None
    explain: bool = False

    def __call__(self, path: Path) -> Judgement:
        """Find the main face of a file and score its views; a file that cannot be judged says why."""
        from dfd.data.sampling import choose

        spec = self.network.input
        try:
            crops = self._crops(path)
            views = self.frames if spec.kind == "image" else spec.clips
            main = np.flatnonzero(crops.table["track"] == 0)
            frames, valid = crops.table["frame"][main], crops.table["valid"][main]
            rows = main[choose(frames, valid, views, spec.frames, spec.stride)]
        except DfdError as error:
            return Judgement(path, np.empty(0), np.empty(0), str(error))
        batches = np.split(rows, range(self.batch_size, len(rows), self.batch_size))
        seen = [look(self.network, self._pixels(crops, batch), self.abstainer) for batch in batches]
        score, strangeness = (np.concatenate(column) for column in zip(*seen, strict=True))
        picture = self._explained(crops, rows[score.argmax()]) if self.explain else None
        strange = why_inconclusive(strangeness, self.abstainer)
        return Judgement(path, crops.table["t"][rows[:, 0]], score, strange=strange, explained=picture)

    def _crops(self, path: Path) -> "Crops":
        from dfd.data.images import whole_frames
        from dfd.data.video import IMAGE_SUFFIXES, read_image
        from dfd.preprocess.crop import crop_image, crop_video

        if self.options is None:
            return whole_frames(path, self.frames)
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return crop_image(read_image(path), self.options, self.detector)
        return crop_video(path, self.options, self.detector)

    def _views(self, crops: "Crops", rows: np.ndarray) -> np.ndarray:
        """Return views (..., 3, S, S) uint8 of rows (...)."""
        from dfd.data.align import show

        size = self.network.input.size
        how = (size,) if self.options is None else (size, self.options.view_margin, self.options.align)
        shown = [show(crops.images[row], crops.table, row, *how) for row in rows.ravel()]
        return np.stack(shown).transpose(0, 3, 1, 2).reshape(*rows.shape, 3, size, size)

    def _pixels(self, crops: "Crops", rows: np.ndarray) -> "torch.Tensor":
        import torch

        views = self._views(crops, rows if self.network.input.kind == "clip" else rows[:, 0])
        return torch.from_numpy(views).to(self.network.mean.device).float().div_(255)

    def _explained(self, crops: "Crops", row: np.ndarray) -> np.ndarray:
        from dfd.training.callbacks import explained

        return explained(self.network, self._views(crops, row))


def write(
    judgements: list[Judgement], threshold: float, folder: Path, operating: "Operating | None" = None
) -> pd.DataFrame:
    """Write `predictions.csv` (a row per view) and `verdicts.csv` (a row per file); return the latter.

    What the run's validation decided, if it did, goes before the threshold; the probability is then calibrated.
    """
    folder.mkdir(parents=True, exist_ok=True)
    views = [pd.DataFrame({"file": str(j.path), "t": j.t, "score": j.score}) for j in judgements]
    pd.concat(views).to_csv(folder / "predictions.csv", index=False)
    for place, judgement in enumerate(judgements):
        if judgement.explained is not None:
            name = f"{place:03d}_{judgement.path.stem}_explained.png"
            cv2.imwrite(str(folder / name), judgement.explained.transpose(1, 2, 0)[..., ::-1])
    rows: list[dict[str, Any]] = []
    for judgement in judgements:
        score = judgement.mean if operating is None else operating.pooled(judgement.score)
        verdict = operating.verdict(score) if operating is not None else "fake" if score >= threshold else "real"
        reason = judgement.reason or judgement.strange
        if verdict == INCONCLUSIVE and operating is not None and operating.band is not None and not reason:
            low, high = operating.band
            reason = f"its score lies between {low:.3f} and {high:.3f}, where validation found both real and fake"
        verdict = INCONCLUSIVE if judgement.strange else verdict
        verdict = verdict if len(judgement.score) else "not judged"
        row = {"file": str(judgement.path), "verdict": verdict, "score": score, "views": len(judgement.score)}
        if operating is not None:
            row["probability"] = float(operating.calibrate(np.array([score]))[0])
        rows.append(row | {"reason": reason})
    verdicts = pd.DataFrame(rows)
    verdicts.to_csv(folder / "verdicts.csv", index=False)
    return verdicts


def show(verdicts: pd.DataFrame, folder: Path) -> None:
    """Print a line per file and the totals."""
    table = Table()
    for name, justify in (("file", "left"), ("verdict", "left"), ("score", "right"), ("views", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    styles = {"fake": "bold red", "real": "green", "not judged": "yellow", INCONCLUSIVE: "yellow"}
    for row in verdicts.itertuples():
        score = "-" if np.isnan(row.score) else f"{row.score:.3f}"  # type: ignore[call-overload, arg-type]
        text = f"{row.verdict}: {row.reason}" if row.reason else str(row.verdict)
        table.add_row(str(row.file), f"[{styles[str(row.verdict)]}]{text}[/]", score, str(row.views))
    console = Console()
    console.print(table)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts["verdict"].value_counts().items())
    console.print(f"{counts}; tables: {folder}", soft_wrap=True)


def _device(name: str) -> Any:
    import torch

    if name != "auto":
        try:
            return torch.zeros(0, device=name).device
        except (RuntimeError, AssertionError) as error:
            raise DfdError(
                f"device={name} is not to be had here ({str(error).splitlines()[0]}): try device=cpu"
            ) from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _run(checkpoint: Path) -> Path:
    return checkpoint.parents[1] if checkpoint.parent.name == "checkpoints" else checkpoint.parent


main = command("predict", predict)

if __name__ == "__main__":
    main()
