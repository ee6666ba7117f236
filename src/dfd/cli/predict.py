"""dfd-predict: judge a video, an image, or a folder of them."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from dfd.cli.abstain import INCONCLUSIVE, load_abstainer, look, why_inconclusive
from dfd.cli.app import allowed_networks, command
from dfd.cli.validation import decided
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
    kind: str = ""  # of the reason: no_face, decode_error, too_short, ...
    track: np.ndarray = field(default_factory=lambda: np.empty(0, int))  # whose face a view shows

    def pooled(self, strategy: str) -> float:
        """The file's score: its views by one of the pools; `tracks`: the mean of the most suspect person."""
        from dfd.metrics.pooling import pool_scores

        if not len(self.score):
            return float("nan")
        if strategy == "tracks":
            return float(pool_scores(np.unique(self.track, return_inverse=True)[1], self.score, "mean").max())
        return float(pool_scores(np.zeros(len(self.score), int), self.score, strategy)[0])  # type: ignore[arg-type]


def predict(cfg: DictConfig) -> float:
    """Judge every file, print a verdict for each, and write the tables; return the share judged fake."""
    import torch

    from dfd.preprocess.faces import MtcnnDetector
    from dfd.training.checkpoint import load_network
    from dfd.training.speed import lay_out

    paths = media(Path(cfg.input).expanduser())
    names = [cfg.run] if isinstance(cfg.run, str) else list(cfg.run)
    loaded = [load_network(Path(name), allowed_networks(cfg.plugins)) for name in names]
    _check(cfg, len(loaded))
    device = _device(cfg.device)
    for one in loaded:
        lay_out(one.network.to(device), device)
    cutter, abstainer = (
        Cutter(MtcnnDetector(device=str(device)), cfg.faces),
        load_abstainer(_run(loaded[0].path), cfg.ood),
    )
    judges = [
        Judge(
            one.network,
            _options(one.card["crops"], one.network.input.kind, cfg.frames),
            cutter, cfg.frames, max(1, cfg.batch_size), abstainer, cfg.explain and one is loaded[0],
        )
        for one in loaded
    ]  # fmt: skip
    if any(one.card["sample"] for one in loaded):
        log.warning("this detector was trained on the rendered SAMPLE: its verdicts on real media mean nothing")
    judged = []
    columns = TextColumn("judging"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with torch.no_grad(), Progress(*columns, console=Console(stderr=True)) as progress:
        for path in progress.track(paths):
            judged.append([judge(path) for judge in judges])
    folder = Path(cfg.output) if cfg.output else _run(loaded[0].path) / "predict" / time.strftime("%Y%m%d-%H%M%S")
    # what validation decided holds for one run, pooled as it was
    alone = len(loaded) == 1 and cfg.threshold is None and cfg.strategy is None
    operating = decided(_run(loaded[0].path), loaded[0].path) if alone else None
    verdicts = write(judged, 0.5 if cfg.threshold is None else cfg.threshold, folder, operating, cfg.strategy or "mean")
    show(verdicts, folder)
    if not any(len(one.score) for several in judged for one in several):
        raise DfdError(f"none of the {len(paths)} file(s) could be judged: see the reasons above")
    return float((verdicts["verdict"] == "fake").mean())


def _check(cfg: DictConfig, runs: int) -> None:
    from dfd.metrics.pooling import POOLS

    if cfg.strategy is not None and cfg.strategy not in (*POOLS, "tracks"):
        raise DfdError(f"strategy={cfg.strategy}: allowed are tracks, {', '.join(POOLS)}")
    if cfg.faces < 1 or cfg.frames < 1:
        raise DfdError(f"faces={cfg.faces}, frames={cfg.frames}: at least one of each is looked at")
    if cfg.ood is not None and runs > 1:
        raise DfdError("ood= belongs to one run: give one run=")


def _options(crops: Mapping[str, Any] | None, kind: str, frames: int) -> "CropOptions | None":
    """Return how faces are cut: as in training, in more bursts if more frames are asked for; None: not at all."""
    from dfd.preprocess.crop import CropOptions

    if not crops:
        return None
    options = CropOptions(**crops)
    if kind == "image" and 0 < options.groups * options.length < frames:
        options = replace(options, groups=-(-frames // options.length))
    return options


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


class Cutter:
    """Cuts the faces of a file once for all networks that want them cut alike."""

    def __init__(self, detector: "FaceDetector", faces: int = 1) -> None:
        self.detector, self.faces = detector, faces
        self._path: Path | None = None
        self._known: dict[str, Crops] = {}

    def __call__(self, path: Path, options: "CropOptions | None", frames: int) -> "Crops":
        """Return the crops of a file; without options, pictures as they are."""
        if path != self._path:
            self._path, self._known = path, {}
        key = f"whole {frames}" if options is None else options.hash
        if key not in self._known:
            self._known[key] = self._cut(path, options, frames)
        return self._known[key]

    def _cut(self, path: Path, options: "CropOptions | None", frames: int) -> "Crops":
        from dfd.data.images import whole_frames
        from dfd.data.video import IMAGE_SUFFIXES, read_image
        from dfd.preprocess.crop import crop_image, crop_video

        if options is None:
            return whole_frames(path, frames)
        options = replace(options, max_tracks=self.faces)
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return crop_image(read_image(path), options, self.detector)
        return crop_video(path, options, self.detector)


@dataclass(frozen=True)
class Judge:
    """What looks at files: a network, how faces are cut for it, and how much of a file is looked at.

    Without crop options pictures are taken whole. An abstainer says which files are too strange to be answered.
    """

    network: "Detector"
    options: "CropOptions | None"
    cutter: Cutter
    frames: int
    batch_size: int
    abstainer: Fitted | None = None
    explain: bool = False

    def __call__(self, path: Path) -> Judgement:
        """Find the faces of a file and score their views; a file that cannot be judged says why."""
        try:
            crops = self.cutter(path, self.options, self.frames)
            rows = self._rows(crops)
        except DfdError as error:
            kind = getattr(error, "reason", "unreadable")
            return Judgement(path, np.empty(0), np.empty(0), str(error), kind=kind)
        except (
            ValueError,
            RuntimeError,
            AttributeError,
            cv2.error,
        ) as error:  # a decoder's
            log.debug("%s", path, exc_info=error)
            reason = f"could not be read: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
            return Judgement(path, np.empty(0), np.empty(0), reason, kind="unexpected")
        batches = np.split(rows, range(self.batch_size, len(rows), self.batch_size))
        seen = [look(self.network, self._pixels(crops, batch), self.abstainer) for batch in batches]
        score, strangeness = (np.concatenate(column) for column in zip(*seen, strict=True))
        picture = self._explained(crops, rows[score.argmax()]) if self.explain else None
        strange = why_inconclusive(strangeness, self.abstainer)
        t, track = (crops.table[name][rows[:, 0]] for name in ("t", "track"))
        return Judgement(path, t, score, strange=strange, explained=picture, track=track)

    def _rows(self, crops: "Crops") -> np.ndarray:
        """Return the rows of the table that every view shows, (V, T), the main face's first."""
        from dfd.data.sampling import choose

        spec, table = self.network.input, crops.table
        seen = np.unique(table["track"][table["valid"]])
        found = []
        for track in seen if len(seen) else [0]:
            rows = np.flatnonzero(table["track"] == track)
            views = self.frames if spec.kind == "image" else spec.clips
            chosen = choose(table["frame"][rows], table["valid"][rows], views, spec.frames, spec.stride)
            found.append(rows[chosen])
        return np.concatenate(found)

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
    judged: list[list[Judgement]],
    threshold: float,
    folder: Path,
    operating: "Operating | None" = None,
    strategy: str = "mean",
) -> pd.DataFrame:
    """Write a row per view (`predictions.csv`), per file (`verdicts.csv`) and as DFDC takes them (`submission.csv`).

    `judged` holds a judgement per run for every file; their scores are averaged. What the run's validation decided, if
    it did, goes before threshold and strategy; the probability is then calibrated. Return the verdicts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    views = [
        pd.DataFrame({"file": str(j.path), "t": j.t, "score": j.score, "track": j.track, "run": number})
        for several in judged
        for number, j in enumerate(several)
    ]
    pd.concat(views).to_csv(folder / "predictions.csv", index=False)
    for place, (first, *_) in enumerate(judged):
        if first.explained is not None:
            name = f"{place:03d}_{first.path.stem}_explained.png"
            cv2.imwrite(str(folder / name), first.explained.transpose(1, 2, 0)[..., ::-1])
    verdicts = pd.DataFrame([_verdict(several, threshold, operating, strategy) for several in judged])
    verdicts.to_csv(folder / "verdicts.csv", index=False)
    names = [Path(file).name for file in verdicts["file"]]
    pd.DataFrame({"filename": names, "label": verdicts["score"].fillna(0.5)}).to_csv(
        folder / "submission.csv", index=False
    )
    return verdicts


def _verdict(
    several: list[Judgement], threshold: float, operating: "Operating | None", strategy: str
) -> dict[str, Any]:
    first = several[0]
    pooled = (j.pooled(strategy) if operating is None else _as_decided(j, operating) for j in several if len(j.score))
    scores = list(pooled)
    score = float(np.mean(scores)) if scores else float("nan")
    verdict = operating.verdict(score) if operating is not None else "fake" if score >= threshold else "real"
    verdict = INCONCLUSIVE if first.strange else verdict
    row: dict[str, Any] = {
        "file": str(first.path),
        "verdict": verdict if scores else "not judged",
        "score": score,
        "views": max(len(j.score) for j in several),
        "faces": max(len(set(j.track.tolist())) for j in several),
    }
    if operating is not None:
        row["probability"] = float(operating.calibrate(np.array([score]))[0])
    failed = next((j for j in several if j.reason), None)
    if failed is not None:
        return row | {"reason": failed.reason, "kind": failed.kind}
    between = operating is not None and operating.band is not None and row["verdict"] == INCONCLUSIVE
    return row | {"reason": first.strange or (_between(operating.band) if between else ""), "kind": ""}  # type: ignore[union-attr, arg-type]


def _as_decided(judgement: Judgement, operating: "Operating") -> float:
    """Return the score of the most suspect person, pooled as validation videos were."""
    people = np.unique(judgement.track)
    return max(operating.pooled(judgement.score[judgement.track == person]) for person in people)


def _between(band: tuple[float, float]) -> str:
    return f"its score lies between {band[0]:.3f} and {band[1]:.3f}, where validation found both real and fake"


def show(verdicts: pd.DataFrame, folder: Path) -> None:
    """Print a line per file and the totals."""
    table = Table()
    for name, justify in (("file", "left"), ("verdict", "left"), ("score", "right"), ("views", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    styles = {"fake": "bold red", "real": "green", "not judged": "yellow", INCONCLUSIVE: "yellow"}
    for row in verdicts.itertuples():
        score = "-" if np.isnan(row.score) else f"{row.score:.3f}"  # type: ignore[call-overload, arg-type]
        text = f"{row.verdict}: {row.reason}" if row.reason else str(row.verdict)
        table.add_row(Text(str(row.file)), Text(text, styles[str(row.verdict)]), score, str(row.views))
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
