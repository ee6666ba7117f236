"""Files about talking faces beside the verdicts: panels, a page with the clips, and the original code's tables."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dfd.inference.results import explained_name
from dfd.inference.verdict import FileResult

log = logging.getLogger("dfd")


def draw_talk(results: Sequence[FileResult], folder: Path) -> None:
    """Draw the panels of talking faces that were explained, and a page with the clips beside them."""
    explained = {
        n: windows for n, r in enumerate(results) if (windows := r.views[0].windows) is not None and len(windows)
    }
    if not explained:
        return
    from dfd.evaluation.talk_panels import draw_panels, panel_page  # brings matplotlib

    entries = []
    for position, windows in explained.items():
        result = results[position]
        words = f"score {result.score:.3f}, {result.verdict}"
        name = folder / f"{explained_name(position, result)}_panels.png"
        entries.append((result.path, draw_panels(windows, name, result.path.name, words), words))
    log.info("panels: %s", panel_page(entries, folder))


def write_original_files(results: Sequence[FileResult], folder: Path) -> None:
    """Write `output.log` and `testing_scores.npy` as the code of AVAD does: a score per file, in the given order."""
    np.save(folder / "testing_scores.npy", np.array([result.score for result in results]))
    lines = [f"{result.path} {result.score}" for result in results]
    (folder / "output.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
