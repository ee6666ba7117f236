"""Out of distribution (OOD): every post-hoc detector fitted on a run, tuned without the test, scored on both sides."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from dfd.core.bank import FeatureBank, Fitted, Head
from dfd.core.build import Allowed, build
from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.records import Record
from dfd.core.tensors import Reconstructed
from dfd.data.outliers import changed, outliers_of
from dfd.data.overlay import data_url, heat_url
from dfd.evaluation.ood.report import SCORES
from dfd.evaluation.ood.scores import PREFIX, write_scores
from dfd.inference.observe import collect, residual_map
from dfd.metrics.ood import threshold_for
from dfd.metrics.ranking import roc_auc
from dfd.models.base import Detector
from dfd.posthoc.zoo import fit, score, why_not
from dfd.preprocess.dataset import Prepared
from dfd.preprocess.runner import progress_bar

if TYPE_CHECKING:
    from dfd.data.datamodule import FaceDataModule

FOLDER, DETECTORS = "ood", "detectors"
MAPPED = 2000  # views that are laid out as a map
Banks = dict[str, FeatureBank]


@dataclass(frozen=True)
class IdOodData:
    """In- and out-of-distribution videos of a run, and the configurations that they come from."""

    id: Prepared
    ood: Prepared
    id_node: dict[str, Any]
    ood_node: dict[str, Any]
    allow: Allowed


@dataclass(frozen=True)
class Role:
    """Videos that play one part, and the datamodule that shows them."""

    data: "FaceDataModule"
    split: str

    @property
    def records(self) -> tuple[Record, ...]:
        """The videos."""
        return self.data.records(self.split)


def make_roles(data: IdOodData, network: Detector, options: Mapping[str, Any]) -> dict[str, Role]:
    """Return who is fitted on, tuned on, tested on, changed in benign ways, and out of distribution."""
    known = data.id.manifest
    train, val, test = (known.split(split) for split in ("train", "val", "test"))
    picked = np.unique(np.linspace(0, len(train) - 1, min(options["fit_limit"], len(train))).astype(int))

    def role(node: Mapping[str, Any], prepared: Prepared, split: str, records: Sequence[Record]) -> Role:
        manifest = Manifest(tuple(records), prepared.manifest.folder)
        return Role(build(node["loader"], data.allow, "loader")(manifest, network.input), split)

    def of_known(split: str, records: Sequence[Record]) -> Role:
        return role(data.id_node, data.id, split, records)

    roles = {
        "fit": of_known("train", [train[row] for row in picked]),
        "val": of_known("val", val),
        "tune": of_known("val", outliers_of(val, options["tune"])),
        "test": of_known("test", test),
        "ood": role(data.ood_node, data.ood, "test", data.ood.manifest.split("test")),
    }
    some = test[:: -(-len(test) // options["benign_limit"])]
    return roles | {f"benign/{kind}": of_known("test", changed(some, kind)) for kind in options["benign"]}


def make_banks(network: Detector, roles: Mapping[str, Role], wants: Sequence[str], others: Sequence[Detector]) -> Banks:
    """Show every role's views to the network once."""
    columns = {"mc_dropout"} if {"mc_dropout", "disagreement"} & set(wants) else set()
    columns |= {"odin", "pictures"} & set(wants)
    loaders = {name: role.data.eval_dataloader(role.split) for name, role in roles.items()}
    banks: Banks = {}
    with _progress(sum(map(len, loaders.values()))) as advance:
        for name, role in roles.items():
            records = role.records
            same = records[0].dataset == roles["test"].records[0].dataset

            def source(record: Record, same: bool = same) -> str:
                return record.method if same else f"{record.dataset}/{record.method}"

            banks[name] = collect(network, loaders[name], records, source, columns, others, advance)
    answers = dict(zip(banks["test"].video, banks["test"].label, strict=True))
    for name, bank in banks.items():
        if name.startswith("benign/"):  # a change is no class of its own
            label = np.array([answers[video.rpartition("#")[0]] for video in bank.video])
            banks[name] = replace(bank, label=label)
    return banks


def fit_all(
    names: Sequence[str], banks: Banks, head: Head | None, id_kept: float
) -> tuple[dict[str, Fitted], dict[str, str]]:
    """Fit every detector that can be used, with its threshold; return also why the others cannot."""
    fitted: dict[str, Fitted] = {}
    left_out: dict[str, str] = {}
    for name in names:
        reason = why_not(name, banks["fit"], head)
        if reason:
            left_out[name] = reason
            continue
        none = Head(np.zeros((0, 0)), np.zeros(0))
        one = fit(name, banks["fit"], head or none, (banks["val"], banks["tune"]))
        threshold = threshold_for(_by_video(banks["val"], score(one, banks["val"])), id_kept)
        fitted[name] = replace(one, threshold=threshold)
    return fitted, left_out


def choose_lead(fitted: Mapping[str, Fitted], banks: Banks) -> str:
    """Return the detector that best tells synthetic outliers from validation videos: the test has no say.

    An abnormality module has trained on outliers of that kind, so it leads only where it is alone.
    """
    if not fitted:
        raise DfdError("none of the detectors in posthoc= can be used on this run: ask for knn or mahalanobis")
    truth = np.repeat([0, 1], [len(banks["val"]), len(banks["tune"])])

    def separation(name: str) -> float:
        return roc_auc(truth, np.concatenate([score(fitted[name], banks[part]) for part in ("val", "tune")]))

    return max([name for name in fitted if name != "abnormality"] or fitted, key=separation)


def write_scores_and_detectors(
    folder: Path, run: Path, fitted: Mapping[str, Fitted], banks: Banks, roles: Mapping[str, Role], keep: bool
) -> None:
    """Write the score table, the fitted detectors and, if asked, the banks."""
    directions = _components(banks["fit"].features)
    parts = [
        _scored(name, bank, roles[name].records, fitted, directions)
        for name, bank in banks.items()
        if name not in ("fit", "tune")
    ]
    thresholds = {name: detector.threshold for name, detector in fitted.items()}
    table = pd.concat(parts, ignore_index=True)
    for role, places in zip(("test", "ood"), neighbourhoods(banks["test"], banks["ood"]), strict=True):
        table.loc[table["role"] == role, ["tsne_x", "tsne_y"]] = places
    write_scores(table, folder / SCORES, thresholds)
    for name, detector in fitted.items():
        detector.write(run / FOLDER / DETECTORS / f"{name}.npz")
    if keep:
        for name, bank in banks.items():
            bank.write(folder / "banks" / f"{name.replace('/', '-')}.npz")


def _scored(
    role: str,
    bank: FeatureBank,
    records: Sequence[Record],
    fitted: Mapping[str, Fitted],
    directions: tuple[np.ndarray, np.ndarray],
) -> pd.DataFrame:
    labels = {record.id: record.label for record in records}
    # a person of one dataset is not a person of another
    groups = {record.id: f"{record.dataset}/{record.group}" for record in records}
    mean, axes = directions
    plane = (bank.features - mean) @ axes
    table = {
        "video": bank.video,
        "role": role,
        "source": bank.source,
        "label": [labels[video] for video in bank.video],
        "right": (bank.logits.argmax(1) == bank.label).astype(float) if role != "ood" else 0.0,
        "group": [groups[video] for video in bank.video],
        "t": bank.t,
        "score": bank.extra["score"],
        "pca_x": plane[:, 0],
        "pca_y": plane[:, -1],
    }
    return pd.DataFrame(table | {PREFIX + name: score(detector, bank) for name, detector in fitted.items()})


def _components(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the two directions of most variance."""
    mean = features.mean(0)
    centred = features - mean
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return mean, vectors[:, ::-1][:, :2]


def neighbourhoods(*banks: FeatureBank, seed: int = 0) -> list[np.ndarray]:
    """Lay out the views of banks together so that neighbours stay neighbours (t-SNE); views beyond MAPPED are NaN."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    features = np.concatenate([bank.features for bank in banks]).astype(np.float64)
    places = np.full((len(features), 2), np.nan)
    rows = np.unique(np.linspace(0, len(features) - 1, min(MAPPED, len(features))).astype(int))
    reduced = PCA(min(50, *features[rows].shape), random_state=seed).fit_transform(features[rows])
    if len(rows) > 3:
        perplexity = min(30.0, (len(rows) - 1) / 3)
        places[rows] = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)
    return np.split(places, np.cumsum([len(bank) for bank in banks])[:-1])


def _by_video(bank: FeatureBank, scores: np.ndarray) -> np.ndarray:
    _, inverse = np.unique(bank.video, return_inverse=True)
    return np.bincount(inverse, scores) / np.bincount(inverse)


def extreme_views(
    network: Detector, roles: Mapping[str, Role], banks: Banks, lead: Fitted, count: int = 6
) -> dict[str, list[dict[str, Any]]]:
    """Return the views nearest to and farthest from what is known, with what was not reconstructed, for the report."""
    scores = {name: score(lead, banks[name]) for name in ("test", "ood")}
    places = [(value, name, row) for name, values in scores.items() for row, value in enumerate(values)]
    places.sort(key=lambda place: place[0])
    chosen = {"Most in-distribution": places[:count], "Most out-of-distribution": places[: -count - 1 : -1]}
    return {
        title: [_picture(network, roles[name], banks[name], row, value) for value, name, row in some]
        for title, some in chosen.items()
    }


def _picture(network: Detector, role: Role, bank: FeatureBank, row: int, value: float) -> dict[str, Any]:
    number = {record.id: position for position, record in enumerate(role.records)}[str(bank.video[row])]
    pixels = role.data.view(role.split, number, float(bank.t[row]))[0]
    about = {"video": str(bank.video[row]), "source": str(bank.source[row]), "score": float(value)}
    about["image"] = data_url(pixels)
    if role.data.input.kind == "image":
        with torch.inference_mode():
            output: Any = network.answering()(network.pixels(torch.from_numpy(pixels)[None].to(network.device)))
        if isinstance(output, Reconstructed):
            about["residual"] = heat_url(residual_map(output)[0].cpu().numpy())
    return about


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    with progress_bar() as progress:
        task = progress.add_task("feature banks", total=total)
        yield lambda: progress.advance(task)
