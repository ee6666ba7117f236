"""The one figure that only this report needs: points in a plane."""

from collections.abc import Sequence
from html import escape

import numpy as np

from dfd.evaluation.figures import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH


def scatter(groups: Sequence[tuple[str, str, np.ndarray]], points: int = 400) -> str:
    """Draw groups (style, name, coordinates (N, 2)) as dots, on common axes without units."""
    everything = np.concatenate([group[2] for group in groups])
    low, high = np.quantile(everything, [0.005, 0.995], axis=0)
    span = np.where(high > low, high - low, 1)
    size = np.array([WIDTH - LEFT - RIGHT, -(HEIGHT - TOP - BOTTOM)])
    drawn = []
    for row, (style, name, coordinates) in enumerate(groups):
        keep = np.unique(np.linspace(0, len(coordinates) - 1, min(points, len(coordinates))).astype(int))
        places = np.array([LEFT, HEIGHT - BOTTOM]) + np.clip((coordinates[keep] - low) / span, 0, 1) * size
        drawn += [f'<circle class="point {style}" cx="{x:.1f}" cy="{y:.1f}" r="2"/>' for x, y in places]
        y = TOP + 10 + 14 * row
        drawn.append(f'<rect class="key {style}" x="{WIDTH - RIGHT - 92}" y="{y - 7}" width="10" height="8"/>')
        drawn.append(f'<text class="tick" x="{WIDTH - RIGHT - 78}" y="{y}">{escape(name[:18])}</text>')
    return f'<svg class="figure" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="features">{"".join(drawn)}</svg>'
