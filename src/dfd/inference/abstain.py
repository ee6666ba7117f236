"""Abstention: a fitted out-of-distribution detector that says which files a run should not answer."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dfd.core.bank import FeatureBank, Fitted
from dfd.core.errors import DfdError

if TYPE_CHECKING:
    from torch import Tensor

    from dfd.models.base import Detector

INCONCLUSIVE = "inconclusive"


def load_abstainer(run: Path, name: str | None) -> Fitted | None:
    """Read the detector of that name that was fitted on a run, or of a file; None where none is asked for."""
    if name is None:
        return None
    from dfd.inference.ood import DETECTORS, FOLDER

    folder = run / FOLDER / DETECTORS
    path = Path(name) if name.endswith(".npz") else folder / f"{name}.npz"
    if not path.is_file():
        have = ", ".join(sorted(file.stem for file in folder.glob("*.npz"))) or "none"
        raise DfdError(
            f"ood={name}: fitted on this run are {have}; fit it with eval.py run={run} data=<what it does not know> "
            f"posthoc=[{name}]"
        )
    fitted = Fitted.read(path)
    if fitted.name == "ensemble":
        raise DfdError("ood=ensemble needs several runs at once: predict judges with one, choose another detector")
    return fitted


def score_with_ood(network: "Detector", pixels: "Tensor", fitted: Fitted | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the score and the out-of-distribution score of each view (-inf without a detector)."""
    from dfd.inference.observe import observe
    from dfd.posthoc.zoo import find, score

    if fitted is None:
        base = network.answering()
        fake = base.score(base(pixels)).cpu().double().numpy()
        return fake, np.full(len(fake), -np.inf)
    columns = observe(network, pixels, [find(fitted.name).needs or ""])
    rows = np.zeros(len(pixels))
    names = rows.astype(str)
    extra = {name: values for name, values in columns.items() if name not in ("logits", "features")}
    bank = FeatureBank(columns["logits"], columns["features"], rows.astype(int), names, names, names, rows, extra)
    return columns["score"].astype(float), score(fitted, bank)


def why_inconclusive(ood_score: np.ndarray, fitted: Fitted | None) -> str:
    """Return why a file should not be answered, or nothing; its views count by their mean."""
    if fitted is None or not len(ood_score) or ood_score.mean() <= fitted.threshold:
        return ""
    return f"unlike what the detector knows: {fitted.name} {ood_score.mean():.4g} is above {fitted.threshold:.4g}"
