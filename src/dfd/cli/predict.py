"""dfd-predict: judge a video, an image, or a folder of them."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dfd.cli.app import allowed_networks, command
from dfd.core.errors import DfdError

if TYPE_CHECKING:
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

    @property
    def mean(self) -> float:
        """The file's score: the mean over its views."""
        return float(self.score.mean()) if len(self.score) else float("nan")


def predict(cfg: DictConfig) -> float:
    """Judge every file, print a verdict for each, and write the tables; return the share judged fake."""
    import torch

    from dfd.preprocess.crop import CropOptions
    from dfd.preprocess.faces import MtcnnDetector
    from dfd.training.checkpoint import load_network

    paths = media(Path(cfg.input).expanduser())
    loaded = load_network(Path(cfg.run), allowed_networks(cfg.plugins))
    device = _device(cfg.device)
    network = loaded.network.to(device)
    options = CropOptions(**loaded.card["crops"])
    detector = MtcnnDetector(device=str(device))
    if loaded.card["sample"]:
        log.warning("this detector was trained on the rendered SAMPLE: its verdicts on real media mean nothing")
    judgements = []
    columns = TextColumn("judging"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with torch.inference_mode(), Progress(*columns, console=Console(stderr=True)) as progress:
        for path in progress.track(paths):
            judgements.append(judge(path, network, options, detector, cfg.frames, cfg.batch_size))
    folder = Path(cfg.output) if cfg.output else _run(loaded.path) / "predict" / time.strftime("%Y%m%d-%H%M%S")
    verdicts = write(judgements, cfg.threshold, folder)
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


def judge(
    path: Path, network: "Detector", options: "CropOptions", detector: "FaceDetector", frames: int, batch_size: int
) -> Judgement:
    """Find the main face of a file and score its views; a file that cannot be judged says why."""
    from dfd.data.sampling import choose
    from dfd.data.video import IMAGE_SUFFIXES, read_image
    from dfd.preprocess.crop import crop_image, crop_video

    spec = network.input
    empty = np.empty(0)
    try:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            crops = crop_image(read_image(path), options, detector)
        else:
            crops = crop_video(path, options, detector)
        views = frames if spec.kind == "image" else spec.clips
        main = np.flatnonzero(crops.table["track"] == 0)
        rows = main[choose(crops.table["frame"][main], crops.table["valid"][main], views, spec.frames, spec.stride)]
    except DfdError as error:
        return Judgement(path, empty, empty, str(error))
    scores = [
        _score(network, crops, rows[start : start + batch_size], options)
        for start in range(0, len(rows), max(1, batch_size))
    ]
    return Judgement(path, crops.table["t"][rows[:, 0]], np.concatenate(scores))


def _score(network: "Detector", crops: "Crops", rows: np.ndarray, options: "CropOptions") -> np.ndarray:
    import torch

    from dfd.data.align import show

    spec = network.input
    how = (spec.size, options.view_margin, options.align)
    stack = np.stack([show(crops.images[row], crops.table, row, *how) for row in rows.ravel()]).transpose(0, 3, 1, 2)
    pixels = torch.from_numpy(stack).to(network.mean.device).float().div_(255)
    if spec.kind == "clip":
        pixels = pixels.reshape(len(rows), spec.frames, *pixels.shape[1:])
    return network.score(network(pixels)).double().cpu().numpy()


def write(judgements: list[Judgement], threshold: float, folder: Path) -> pd.DataFrame:
    """Write `predictions.csv` (a row per view) and `verdicts.csv` (a row per file); return the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    views = [pd.DataFrame({"file": str(j.path), "t": j.t, "score": j.score}) for j in judgements]
    pd.concat(views).to_csv(folder / "predictions.csv", index=False)
    rows: list[dict[str, Any]] = []
    for judgement in judgements:
        verdict = "not judged" if not len(judgement.score) else "fake" if judgement.mean >= threshold else "real"
        row = {"file": str(judgement.path), "verdict": verdict, "score": judgement.mean, "views": len(judgement.score)}
        rows.append(row | {"reason": judgement.reason})
    verdicts = pd.DataFrame(rows)
    verdicts.to_csv(folder / "verdicts.csv", index=False)
    return verdicts


def show(verdicts: pd.DataFrame, folder: Path) -> None:
    """Print a line per file and the totals."""
    table = Table()
    for name, justify in (("file", "left"), ("verdict", "left"), ("score", "right"), ("views", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    styles = {"fake": "bold red", "real": "green", "not judged": "yellow"}
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
