"""Four panels of a talking face: delays over time, their mean, the error of features, and how surprising it all is."""

import html
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

BLUE, RED, GREY = "#3066be", "#c8374a", "#8a8f98"
STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1280px;padding:0 1rem;color:#222}
section{display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start;margin-bottom:2rem}video{width:240px;border-radius:6px}
img{flex:1 1 22rem;min-width:0;max-width:940px}h2{font-size:17px}.note{color:#666}"""


def draw_panels(windows: pd.DataFrame, path: Path, title: str, note: str = "") -> Path:
    """Write the panels of one file as PNG; `windows` are those of `talk_windows`, in order."""
    delays = [name for name in windows.columns if name.startswith("delay_")]
    probability, time = windows[delays].to_numpy(), windows["time_s"].to_numpy()
    frames = np.arange(len(delays)) - len(delays) // 2
    figure, axes = plt.subplots(2, 2, figsize=(11, 6.4), layout="constrained")
    _delays_over_time(axes[0, 0], time, frames, probability)
    _mean(axes[0, 1], frames, probability, float(windows["offset"].median()))
    _over_time(axes[1, 0], time, windows["feat_mse"].to_numpy(), "Error of features", "squared error of the next step")
    _over_time(axes[1, 1], time, windows["kl"].to_numpy(), "Surprise in delays", "KL (found, expected)")
    figure.suptitle(title + (f"\n{note}" if note else ""), fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def panel_page(entries: Sequence[tuple[Path, Path, str]], folder: Path) -> Path:
    """Write a page with each clip beside its panels; entries are (clip, panels, caption)."""
    parts = [
        f'<h2>{html.escape(clip.name)}</h2><p class="note">{html.escape(caption)}</p><section>'
        f'<video src="{html.escape(clip.absolute().as_uri(), quote=True)}" controls preload="metadata"></video>'
        f'<img src="{html.escape(panels.name, quote=True)}" alt="panels"></section>'
        for clip, panels, caption in entries
    ]
    page = folder / "panels.html"
    page.write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Lips and voice</title><style>{STYLE}</style>"
        f"<h1>Lips and voice</h1>{''.join(parts)}",
        encoding="utf-8",
    )
    return page


def _delays_over_time(axes: Axes, time: np.ndarray, frames: np.ndarray, probability: np.ndarray) -> None:
    # where windows are missing (nobody speaks, no face) the picture has a gap, not a bridge
    step = 0.04
    grid = np.full((round((time[-1] - time[0]) / step) + 1, len(frames)), np.nan)
    grid[np.round((time - time[0]) / step).astype(int)] = probability
    extent = (time[0] - step / 2, time[-1] + step / 2, frames[0] - 0.5, frames[-1] + 0.5)
    image = axes.imshow(
        grid.T,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="viridis",
        vmin=0,
        vmax=max(0.1, float(probability.max())),
    )
    axes.axhline(0, color="white", linewidth=0.6, linestyle=":")
    axes.set(title="Delays over time", xlabel="seconds", ylabel="sound early   frames   sound late")
    axes.figure.colorbar(image, ax=axes, label="probability")


def _mean(axes: Axes, frames: np.ndarray, probability: np.ndarray, offset: float) -> None:
    axes.bar(frames, probability.mean(0), color=BLUE, width=0.8)
    axes.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
    words = "no offset" if offset == 0 else f"offset {offset:+.0f} frames, {offset * 40:+.0f} ms"
    axes.set(title=f"Mean distribution ({words})", xlabel="delay in frames", ylabel="probability")
    if offset:
        axes.axvline(offset, color=RED, linewidth=1.2)


def _over_time(axes: Axes, time: np.ndarray, values: np.ndarray, title: str, label: str) -> None:
    gap = np.flatnonzero(np.diff(time) > 0.06) + 1
    t, v = np.insert(time, gap, np.nan), np.insert(values.astype(float), gap, np.nan)
    axes.plot(t, v, color=BLUE, linewidth=1)
    axes.axhline(float(values.mean()), color=RED, linewidth=0.9, linestyle="--")
    axes.set(title=f"{title} (mean {values.mean():.3f})", xlabel="seconds", ylabel=label, ylim=(0, None))
