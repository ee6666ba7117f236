"""The one figure that only this report needs: points in a plane."""

from collections.abc import Sequence

import numpy as np

from dfd.evaluation.figures import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, legend


def scatter(groups: Sequence[tuple[str, str, np.ndarray]], points: int = 400) -> str:
    """Draw groups (style, name, coordinates (N, 2)) as dots, on common axes without units."""
    everything = np.concatenate([group[2] for group in groups])
    low, high = np.quantile(everything, [0.005, 0.995], axis=0)
    span = np.where(high > low, high - low, 1)
    size = np.array([WIDTH - LEFT - RIGHT, -(HEIGHT - TOP - BOTTOM)])
    drawn = []
    for style, _, coordinates in groups:
        keep = np.unique(np.linspace(0, len(coordinates) - 1, min(points, len(coordinates))).astype(int))
        places = np.array([LEFT, HEIGHT - BOTTOM]) + np.clip((coordinates[keep] - low) / span, 0, 1) * size
        drawn += [f'<circle class="point {style}" cx="{x:.1f}" cy="{y:.1f}" r="2"/>' for x, y in places]
    head = f'<svg class="figure" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="features">'
    return f"{head}{''.join(drawn)}</svg>{legend([(style, name) for style, name, _ in groups])}"
