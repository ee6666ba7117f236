"""Timelines as SVG: what is forged, what is proposed, and under them pictures and sound of the file."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

WIDTH, LEFT, BAR, GAP = 720, 64, 14, 4
STROKES = {"true": "#2a9d55", "video": "#d1495b", "audio": "#8d6cc2", "both": "#d1495b"}
STYLE = "font:11px system-ui,sans-serif;fill:currentColor"
FEWEST, MOST = 0.05, 12  # of a proposal's score to be drawn; proposals that are drawn


class Stretch(NamedTuple):
    """A stretch of time in seconds with a score; those that are true have 1."""

    start: float
    end: float
    score: float = 1.0
    stream: str = "both"


def timeline(
    duration: float,
    proposals: Sequence[Stretch],
    truth: Sequence[Stretch] | None = None,
    pictures: Sequence[tuple[float, str]] = (),
    wave: np.ndarray | None = None,
    title: str = "",
) -> str:
    """Draw one file.

    Args:
        duration: in seconds.
        proposals: what was found; the best are drawn, the stronger the more opaque.
        truth: what is forged, where it is known.
        pictures: (second, data URL) of frames, drawn where they lie.
        wave: loudness over the file at even steps, in [0, 1].
        title: for a reader.
    """
    seconds = max(duration, 1e-3)
    rows: list[str] = []
    top = 16
    if pictures:
        rows.append(_pictures(pictures, seconds, top))
        top += 58
    if wave is not None and len(wave):
        rows.append(_wave(wave, top))
        top += 34
    if truth is not None:
        rows.append(_label("forged", top) + "".join(_bar(s, seconds, top, STROKES["true"], 1) for s in truth))
        top += BAR + GAP
    shown = sorted((p for p in proposals if p.score >= FEWEST), key=lambda p: -p.score)[:MOST]
    for lane, members in enumerate(_lanes(shown)):
        rows.append(_label("found" if lane == 0 else "", top))
        rows += [_bar(p, seconds, top, STROKES[p.stream], max(0.15, p.score)) for p in members]
        top += BAR + GAP
    if not shown:
        rows.append(_label("found", top) + _text(LEFT, top + 11, "nothing"))
        top += BAR + GAP
    rows.append(_axis(seconds, top))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 22}" role="img" class="timeline">'
    return f"{head}<title>{escape(title)}</title>{''.join(rows)}</svg>"


def _x(second: float, seconds: float) -> float:
    return LEFT + (WIDTH - LEFT - 8) * min(max(second / seconds, 0.0), 1.0)


def _bar(stretch: Stretch, seconds: float, top: float, colour: str, opacity: float) -> str:
    left, right = _x(stretch.start, seconds), _x(stretch.end, seconds)
    label = f"{stretch.start:.2f} to {stretch.end:.2f} s, {stretch.stream}, {stretch.score:.2f}"
    return (
        f'<rect x="{left:.1f}" y="{top}" width="{max(right - left, 1.5):.1f}" height="{BAR}" rx="2" fill="{colour}" '
        f'fill-opacity="{opacity:.2f}"><title>{label}</title></rect>'
    )


def _lanes(stretches: Sequence[Stretch]) -> list[list[Stretch]]:
    """Spread stretches over lanes in which none overlap, the best into the first."""
    lanes: list[list[Stretch]] = []
    for stretch in stretches:
        free = (lane for lane in lanes if all(s.end <= stretch.start or s.start >= stretch.end for s in lane))
        lane = next(free, None)
        if lane is None:
            lanes.append([stretch])
        else:
            lane.append(stretch)
    return lanes[:4]


def _pictures(pictures: Sequence[tuple[float, str]], seconds: float, top: float) -> str:
    size = 54
    places = ((_x(second, seconds) - size / 2, url) for second, url in pictures)
    return "".join(
        f'<image href="{url}" x="{min(max(x, LEFT), WIDTH - size - 8):.1f}" y="{top}" width="{size}" height="{size}"/>'
        for x, url in places
    )


def _wave(wave: np.ndarray, top: float) -> str:
    xs = np.linspace(LEFT, WIDTH - 8, len(wave))
    upper = [f"{x:.1f},{top + 15 - 14 * float(v):.1f}" for x, v in zip(xs, wave)]
    lower = [f"{x:.1f},{top + 15 + 14 * float(v):.1f}" for x, v in zip(xs[::-1], wave[::-1])]
    return (
        _label("sound", top + 6)
        + f'<polygon points="{" ".join(upper + lower)}" fill="currentColor" fill-opacity="0.35"/>'
    )


def _axis(seconds: float, top: float) -> str:
    step = next(s for s in (0.5, 1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600, 1e9) if seconds / s <= 12)
    ticks = np.arange(0, seconds + 1e-9, step)
    marks = (
        f'<line x1="{_x(t, seconds):.1f}" x2="{_x(t, seconds):.1f}" y1="{top}" y2="{top + 4}" stroke="currentColor"/>'
        + _text(min(_x(t, seconds), WIDTH - 14), top + 16, f"{t:g} s", "middle")
        for t in ticks
    )
    line = f'<line x1="{LEFT}" x2="{WIDTH - 8}" y1="{top}" y2="{top}" stroke="currentColor" stroke-opacity="0.5"/>'
    return line + "".join(marks)


def _label(text: str, top: float) -> str:
    return _text(4, top + 11, text) if text else ""


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{STYLE}">{escape(text)}</text>'
