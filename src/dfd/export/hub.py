"""A run pushed to a hub, with a page that says what it is for and what it was measured on."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Template

from dfd.core.build import Allowed
from dfd.core.errors import DfdError
from dfd.core.run_folder import find_checkpoint, run_of
from dfd.evaluation.operating import operating_point_of
from dfd.models.checkpoint import CARD, NETWORKS, PREFIX, load_network, read_checkpoint
from dfd.models.published import write_published
from dfd.models.untrusted import network_weights

HEADLINE = {"auc": "AUC", "ap": "AP", "eer": "EER", "log_loss": "log loss"}


def push(run: Path, name: str, private: bool = True, licence: str | None = None, networks: Allowed = NETWORKS) -> str:
    """Publish a run under owner/name and return its address.

    Args:
        run: a run folder or a checkpoint.
        name: owner/name on the hub.
        private: whether only the owner sees it.
        licence: of the weights, as the hub names it, e.g. apache-2.0; None: the page says that none was given.
        networks: packages whose networks may be built.
    """
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_folder(run, folder, name, licence, networks)
        api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
        try:
            api.create_repo(name, private=private, exist_ok=True)
            commit = api.upload_folder(repo_id=name, folder_path=folder, commit_message="Published by dfd-hub")
        except Exception as error:  # the hub's client and its transports raise many unrelated kinds
            reason = " ".join(str(error).split())[:200]
            raise DfdError(
                f"{name} could not be published ({type(error).__name__}: {reason}): log in with `hf auth login`"
            ) from error
    return f"hf://{name}@{commit.oid}"


def write_folder(run: Path, folder: Path, name: str, licence: str | None, networks: Allowed = NETWORKS) -> None:
    """Write what is published of a run: weights, card, operating point and page."""
    loaded = load_network(run, networks)  # whole, and of a network that can be built
    if loaded.card.sample:
        raise DfdError(
            f"{loaded.path} was trained on the rendered sample: its weights say nothing about real media and are not "
            "published"
        )
    path = find_checkpoint(run)
    checkpoint = read_checkpoint(path)
    state = {key.removeprefix(PREFIX): value for key, value in network_weights(checkpoint, path).items()}
    write_published(folder, checkpoint[CARD], state)
    operating = operating_point_of(run_of(path), path)
    if operating is not None:
        operating.write(folder)
    (folder / "README.md").write_text(page(run_of(path), checkpoint[CARD], name, licence), encoding="utf-8")


def page(run: Path, card: Mapping[str, Any], name: str, licence: str | None) -> str:
    """Return the page of a published run, from its card and its evaluations."""
    rows = [_row(path) for path in sorted(run.glob("eval/*/metrics.json"))]
    text = (Path(__file__).parent / "readme.md.j2").read_text(encoding="utf-8")
    known = {"name": name, "licence": licence, "card": card, "rows": rows, "headline": list(HEADLINE.values())}
    return Template(text, keep_trailing_newline=True).render(known)


def _row(path: Path) -> list[str]:
    video = json.loads(path.read_text(encoding="utf-8")).get("video") or {}
    return [path.parent.name, *(_number(video.get(key)) for key in HEADLINE)]


def _number(metric: Mapping[str, Any] | None) -> str:
    if not metric or metric.get("value") is None:
        return "-"
    interval = f" [{metric['low']:.3f}, {metric['high']:.3f}]" if metric.get("low") is not None else ""
    return f"{metric['value']:.3f}{interval}"
