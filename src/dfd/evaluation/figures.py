"""Small SVG figures whose colours come from the page's style sheet, so that they follow light and dark."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

WIDTH, HEIGHT = 340, 240
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 12, 36

Array = Sequence[float] | np.ndarray
Ticks = Sequence[tuple[float, str]]


class Line(NamedTuple):
    """A curve with a style class of the page (`a`, `b`, `c1` ... `c7` or `muted`), a name, and perhaps a band."""

    x: Array
    y: Array
    style: str = "a"
    name: str = ""
    band: tuple[Array, Array] | None = None


def lines(
    curves: Sequence[Line],
    x_label: str,
    y_label: str,
    y_range: tuple[float, float] = (0, 1),
    x_range: tuple[float, float] | None = None,
    ticks: tuple[Ticks, Ticks] | None = None,
    points: int = 400,
) -> str:
    """Draw curves over a common x axis, the legend below."""
    xs = np.concatenate([np.asarray(curve.x, float) for curve in curves])
    low, high = x_range or (float(xs.min()), float(xs.max()))
    frame = _Frame((low, high if high > low else low + 1), y_range, ticks)
    drawn = [frame.band(curve) for curve in curves if curve.band is not None]
    for curve in curves:
        keep = np.unique(np.linspace(0, len(curve.x) - 1, min(points, len(curve.x))).astype(int))
        path = frame.path(np.asarray(curve.x)[keep], np.asarray(curve.y)[keep])
        drawn.append(f'<polyline class="line {curve.style}" points="{path}"/>')
        if len(keep) <= 10 and curve.style != "muted":
            drawn += [f'<circle class="dot {curve.style}" cx="{p[0]}" cy="{p[1]}" r="2.6"/>' for p in _pairs(path)]
    return frame.svg("".join(drawn), x_label, y_label) + legend([(c.style, c.name) for c in curves if c.name])


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
    return frame.svg("".join(drawn), x_label, "share of videos") + legend([(style, name) for style, name, _ in groups])


def reliability(groups: Sequence[tuple[str, str, np.ndarray, np.ndarray, np.ndarray]]) -> str:
    """Draw shares of fakes over mean probabilities (style, name, mean, share, size); a dot's area is its bin's size."""
    frame = _Frame((0, 1), (0, 1))
    drawn = [f'<polyline class="line muted" points="{frame.path([0, 1], [0, 1])}"/>']
    for style, _, mean, share, size in groups:
        drawn.append(f'<polyline class="line thin {style}" points="{frame.path(mean, share)}"/>')
        radius = 1.5 + 4 * np.sqrt(size / size.max())
        drawn += [
            f'<circle class="dot {style} soft" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="{r:.1f}"/>'
            for x, y, r in zip(mean, share, radius)
        ]
    keys = [(style, name) for style, name, *_ in groups]
    return frame.svg("".join(drawn), "mean probability", "share of fakes") + legend(keys)


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

    def __init__(
        self, x_range: tuple[float, float], y_range: tuple[float, float], ticks: tuple[Ticks, Ticks] | None = None
    ) -> None:
        self.x_range, self.y_range, self.ticks = x_range, y_range, ticks

    def x(self, value: float) -> float:
        low, high = self.x_range
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def path(self, x: Array, y: Array) -> str:
        inside = np.clip(y, *self.y_range)
        return " ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in zip(np.clip(x, *self.x_range), inside))

    def band(self, curve: Line) -> str:
        assert curve.band is not None
        low, high = (self.path(curve.x, side) for side in curve.band)
        back = " ".join(reversed(high.split(" ")))
        return f'<polygon class="band {curve.style}" points="{low} {back}"/>'

    def svg(self, content: str, x_label: str, y_label: str) -> str:
        label = escape(f"{y_label} over {x_label}")
        middle = (LEFT + WIDTH - RIGHT) / 2
        return "".join(
            [
                f'<svg class="figure" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">',
                *self._axes(),
                _text("axis", middle, HEIGHT - 5, x_label),
                f'<g transform="translate(11,{HEIGHT / 2 - 10}) rotate(-90)">{_text("axis", 0, 0, y_label)}</g>',
                content,
                "</svg>",
            ]
        )

    def _axes(self) -> Iterator[str]:
        x_ticks, y_ticks = self.ticks or (
            [(tick, f"{tick:.3g}") for tick in np.linspace(*self.x_range, 5)],
            [(tick, f"{tick:.2g}") for tick in np.linspace(*self.y_range, 5)],
        )
        for tick, name in y_ticks:
            y = self.y(tick)
            yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield _text("tick", LEFT - 5, y + 3, name, "end")
        for tick, name in x_ticks:
            yield _text("tick", self.x(tick), HEIGHT - BOTTOM + 14, name)


def legend(keys: Sequence[tuple[str, str]]) -> str:
    """Name the colours of a figure (style, name), below it."""
    if not keys:
        return ""
    items = "".join(f'<span><i class="swatch {style}"></i>{escape(name)}</span>' for style, name in keys)
    return f'<div class="legend">{items}</div>'


def _pairs(path: str) -> list[list[str]]:
    return [pair.split(",") for pair in path.split(" ") if pair]


def _text(style: str, x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
