"""Small SVG figures whose colours come from the page's style sheet, so that they follow light and dark."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

WIDTH, HEIGHT = 340, 240
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 12, 36


class Line(NamedTuple):
    """A curve with a style class of the page (`a`, `b` or `muted`) and a name for the legend."""

    x: Sequence[float] | np.ndarray
    y: Sequence[float] | np.ndarray
    style: str = "a"
    name: str = ""


def lines(
    curves: Sequence[Line], x_label: str, y_label: str, y_range: tuple[float, float] = (0, 1), points: int = 400
) -> str:
    """Draw curves over a common x axis."""
    xs = np.concatenate([np.asarray(curve.x, float) for curve in curves])
    frame = _Frame((float(xs.min()), float(xs.max()) if xs.max() > xs.min() else float(xs.min()) + 1), y_range)
    drawn = []
    for curve in curves:
        keep = np.unique(np.linspace(0, len(curve.x) - 1, min(points, len(curve.x))).astype(int))
        path = " ".join(f"{frame.x(curve.x[i]):.1f},{frame.y(curve.y[i]):.1f}" for i in keep)
        drawn.append(f'<polyline class="line {curve.style}" points="{path}"/>')
        if len(keep) == 1:
            x, y = path.split(",")
            drawn.append(f'<circle class="dot {curve.style}" cx="{x}" cy="{y}" r="3"/>')
    return frame.svg("".join(drawn), x_label, y_label, [(c.style, c.name) for c in curves if c.name])


def histogram(groups: Sequence[tuple[str, str, np.ndarray]], x_label: str, bins: int = 24) -> str:
    """Draw the shares of several groups (style, name, values) in common bins."""
    values = np.concatenate([group[2] for group in groups])
    low, high = (0.0, 1.0) if values.min() >= 0 and values.max() <= 1 else (float(values.min()), float(values.max()))
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    shares = [np.histogram(group[2], edges)[0] / max(1, len(group[2])) for group in groups]
    frame = _Frame((edges[0], edges[-1]), (0, max(float(share.max()) for share in shares) or 1))
    drawn = []
    for (style, _, _), share in zip(groups, shares, strict=True):
        for i, height in enumerate(share):
            left, right, top = frame.x(edges[i]), frame.x(edges[i + 1]), frame.y(height)
            drawn.append(
                f'<rect class="bar {style}" x="{left:.1f}" y="{top:.1f}" width="{right - left - 1:.1f}" '
                f'height="{frame.y(0) - top:.1f}"/>'
            )
    return frame.svg("".join(drawn), x_label, "share of videos", [(style, name) for style, name, _ in groups])


def interval_bar(value: float, low: float, high: float) -> str:
    """Draw one value between 0 and 1 with its interval as a thin bar."""
    if np.isnan(value):
        return ""
    low, high = (value, value) if np.isnan(low) else (low, high)
    return (
        '<svg class="interval" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{value:.3f}, from {low:.3f} to {high:.3f}">'
        '<rect class="track" x="0" y="4" width="100" height="2"/>'
        '<rect class="half" x="50" y="1" width="0.4" height="8"/>'
        f'<rect class="range" x="{100 * low:.1f}" y="3" width="{100 * (high - low):.1f}" height="4"/>'
        f'<rect class="value" x="{100 * value - 0.6:.1f}" y="0" width="1.2" height="10"/></svg>'
    )


class _Frame:
    """Axes: from data to pixels, with ticks and labels."""

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        self.x_range, self.y_range = x_range, y_range

    def x(self, value: float) -> float:
        low, high = self.x_range
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def svg(self, content: str, x_label: str, y_label: str, legend: Sequence[tuple[str, str]]) -> str:
        label = escape(f"{y_label} over {x_label}")
        middle = (LEFT + WIDTH - RIGHT) / 2
        return "".join(
            [
                f'<svg class="figure" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">',
                *self._ticks(),
                _text("axis", middle, HEIGHT - 5, x_label),
                f'<g transform="translate(11,{HEIGHT / 2 - 10}) rotate(-90)">{_text("axis", 0, 0, y_label)}</g>',
                content,
                *(_key(row, style, name) for row, (style, name) in enumerate(legend)),
                "</svg>",
            ]
        )

    def _ticks(self) -> Iterator[str]:
        for tick in np.linspace(*self.y_range, 5):
            y = self.y(tick)
            yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield _text("tick", LEFT - 5, y + 3, f"{tick:.2g}", "end")
        for tick in np.linspace(*self.x_range, 5):
            yield _text("tick", self.x(tick), HEIGHT - BOTTOM + 14, f"{tick:.3g}")


def _key(row: int, style: str, name: str) -> str:
    x, y = WIDTH - RIGHT - 92, TOP + 10 + 14 * row
    rectangle = f'<rect class="key {style}" x="{x}" y="{y - 7}" width="10" height="8"/>'
    return rectangle + _text("tick", x + 14, y, name, "start")


def _text(style: str, x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
