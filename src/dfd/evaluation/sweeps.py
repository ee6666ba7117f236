"""A sweep at a glance: what became of every job, and which parameters go with a good metric."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.table import Table

from dfd.evaluation.pages import render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DONE = "done"
ABSENT = "-"
INK, CARD, FAINT, RED = "#1d2330", "#fefefe", "#9aa1ad", "#c8452d"
SPREAD = 0.07  # how far apart the jobs that share a word go through it, so that each can be followed
LOG_FROM = 30.0  # an axis whose values span so large a factor is logarithmic
SHOWN = 40  # jobs in the terminal


@dataclass(frozen=True)
class Point:
    """One job: its parameters as they were typed, what became of it, and its metric (NaN where it has none)."""

    number: int
    parameters: Mapping[str, str]
    status: str
    value: float
    reason: str = ""
    seconds: float = 0.0
    folder: str = ""


@dataclass(frozen=True)
class Sweep:
    """The jobs of a sweep, the best first, and what they were compared by."""

    points: Sequence[Point]
    metric: str
    title: str = "Sweep"

    @classmethod
    def of(cls, points: Sequence[Point], metric: str, lower_is_better: bool = False, title: str = "Sweep") -> "Sweep":
        """Sort jobs: those that are done by their metric, then the others by their number."""
        sign = 1 if lower_is_better else -1

        def place(point: Point) -> tuple[bool, float, int]:
            ranked = point.status == DONE and not math.isnan(point.value)
            return (not ranked, sign * point.value if ranked else 0.0, point.number)

        return cls(sorted(points, key=place), metric, title)

    @property
    def axes(self) -> list[str]:
        """The parameters in which jobs differ."""
        names = dict.fromkeys(name for point in self.points for name in point.parameters)
        return [name for name in names if len({point.parameters.get(name) for point in self.points}) > 1]

    @property
    def best(self) -> Point | None:
        """The job with the best metric, if one is done."""
        ranked = [point for point in self.points if point.status == DONE and not math.isnan(point.value)]
        return ranked[0] if ranked else None

    def counted(self) -> str:
        """Say how many jobs ended how."""
        counts = Counter(point.status for point in self.points)
        return f"{len(self.points)} jobs: " + ", ".join(f"{n} {status}" for status, n in counts.most_common())

    def cell(self, point: Point, name: str) -> str:
        """Return a parameter as it is read best: numbers short, the rest as typed."""
        text = point.parameters.get(name, ABSENT)
        number = _number(text)
        return text if number is None else f"{number:.4g}"


def sweep_table(sweep: Sweep) -> Table:
    """Return the jobs for the terminal, the best first."""
    shown = Table(title=sweep.title, caption=sweep.counted())
    shown.add_column("job", justify="right")
    shown.add_column(sweep.metric, justify="right", no_wrap=True)
    for name in sweep.axes:
        shown.add_column(name, justify="right", overflow="fold")
    for name in ("status", "time"):
        shown.add_column(name, no_wrap=True, justify="right")
    for point in sweep.points[:SHOWN]:
        cells = [sweep.cell(point, name) for name in sweep.axes]
        shown.add_row(str(point.number), _score(point), *cells, point.status, _duration(point.seconds))
    return shown


def write_sweep(sweep: Sweep, folder: Path) -> Path:
    """Write `sweep.{csv,html}` and the picture `parameters.{png,svg}` into a folder; return the page."""
    _long(sweep).to_csv(folder / "sweep.csv", index=False)
    pictures = []
    if sweep.axes and sweep.best is not None:
        figure = parallel_coordinates(sweep)
        figure.savefig(folder / "parameters.png", dpi=150)
        drawn = _svg(figure)
        (folder / "parameters.svg").write_text(drawn, encoding="utf-8")
        pictures.append((f"Parameters against {sweep.metric}", drawn[drawn.find("<svg") :]))
    page = folder / "sweep.html"
    page.write_text(
        render("sweep", pictures, title=sweep.title, sweep=sweep, score=_score, time=_duration), encoding="utf-8"
    )
    return page


def parallel_coordinates(sweep: Sweep) -> "Figure":
    """Draw a line per job through its parameters to its metric; the better, the darker and the further in front."""
    from matplotlib.figure import Figure

    names = [*sweep.axes, sweep.metric]
    figure = Figure(figsize=(max(6.0, 1.9 * len(names)), 4.6), layout="constrained")
    axes: Axes = figure.add_subplot()
    columns = [_Column([point.parameters.get(name, ABSENT) for point in sweep.points]) for name in sweep.axes]
    values = [point.value for point in sweep.points]
    columns.append(_Column([repr(value) for value in values if not math.isnan(value)]))
    _frame(axes, names, columns)
    for rank, point in reversed(list(enumerate(sweep.points))):
        apart = SPREAD * (rank / max(1, len(sweep.points) - 1) - 0.5)
        cells = [
            column.place(point.parameters.get(name, ABSENT)) + (0.0 if column.numeric else apart)
            for name, column in zip(sweep.axes, columns)
        ]
        if not math.isnan(point.value):
            cells.append(columns[-1].place(repr(point.value)))
        axes.plot(range(len(cells)), cells, **_style(sweep, point, rank))
    axes.set_title(f"{sweep.title} — {sweep.counted()}", color=INK, fontsize=10, loc="left", pad=26)
    return figure


class _Column:
    """One axis: numbers from low to high (logarithmic where they span much), words evenly spread."""

    def __init__(self, texts: Sequence[str]) -> None:
        numbers = [_number(text) for text in texts]
        self.numeric = all(number is not None for number in numbers)
        if self.numeric:
            known = [number for number in numbers if number is not None]
            self.low, self.high = min(known), max(known)
            self.log = self.low > 0 and self.high / self.low >= LOG_FROM
        else:
            self.words = sorted(set(texts))

    def place(self, text: str) -> float:
        """Return where on the axis, from 0 to 1, a value lies."""
        if not self.numeric:
            return self.words.index(text) / max(1, len(self.words) - 1)
        low, high, at = self.low, self.high, float(text)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return (at - low) / (high - low) if high > low else 0.5

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Yield places and what is written beside them."""
        if not self.numeric:
            yield from ((self.place(word), word) for word in self.words)
        elif self.high == self.low:
            yield 0.5, f"{self.low:.4g}"
        else:
            for share in (0.0, 0.25, 0.5, 0.75, 1.0):
                plain = self.low + share * (self.high - self.low)
                yield share, f"{self.low * (self.high / self.low) ** share if self.log else plain:.3g}"


def _frame(axes: "Axes", names: Sequence[str], columns: Sequence[_Column]) -> None:
    """Draw an upright line per parameter, with its name above and its values beside it."""
    for x, (name, column) in enumerate(zip(names, columns)):
        axes.axvline(x, color=FAINT, linewidth=0.8, zorder=0)
        axes.text(x, 1.06, name, ha="center", va="bottom", color=INK, fontsize=9, fontweight="bold")
        for place, text in column.ticks():
            axes.plot([x - 0.02, x], [place, place], color=FAINT, linewidth=0.8, zorder=0)
            box = {"facecolor": CARD, "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
            axes.text(x - 0.04, place, text, ha="right", va="center", color=INK, fontsize=8, bbox=box, zorder=5)
    axes.set(xlim=(-0.45, len(names) - 0.7), ylim=(-0.06, 1.06))
    axes.axis("off")


def _style(sweep: Sweep, point: Point, rank: int) -> dict[str, Any]:
    """Return how a job is drawn: done in colour, pruned thin and dashed, failed in red as far as it goes."""
    from matplotlib import colormaps

    if point.status == DONE and not math.isnan(point.value):
        done = [each.value for each in sweep.points if each.status == DONE and not math.isnan(each.value)]
        share = 1 - rank / max(1, len(done) - 1)
        shade = colormaps["YlGnBu"](0.3 + 0.6 * share)
        return {"color": shade, "linewidth": 3.0 if rank == 0 else 1.8, "zorder": 3 + share, "marker": "o", "ms": 4}
    colour = RED if point.status == "failed" else FAINT
    return {"color": colour, "linewidth": 1.1, "linestyle": "--", "zorder": 2, "marker": ".", "ms": 4}


def _svg(figure: "Figure") -> str:
    """Return a figure as SVG whose letters stay letters, and which is the same every time."""
    from matplotlib import rc_context

    text = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "dfd", "font.family": "sans-serif"}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return text.getvalue()


def _long(sweep: Sweep) -> pd.DataFrame:
    def row(point: Point) -> dict[str, Any]:
        facts = {"job": point.number, sweep.metric: point.value, "status": point.status, "seconds": point.seconds}
        return facts | dict(point.parameters) | {"reason": point.reason, "folder": point.folder}

    return pd.DataFrame([row(point) for point in sweep.points])


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _score(point: Point) -> str:
    return ABSENT if math.isnan(point.value) else f"{point.value:.4f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
