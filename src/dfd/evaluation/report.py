"""An evaluation folder to a report: reads `predictions.parquet` and `facts.json`, writes JSON, Markdown and HTML."""

import json
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from dfd.core import predictions
from dfd.core.errors import DfdError
from dfd.evaluation.curves import figures
from dfd.evaluation.evaluate import Evaluation, evaluate
from dfd.evaluation.figures import interval_bar
from dfd.evaluation.numbers import NAMES, Number, Numbers
from dfd.evaluation.operating import Operating
from dfd.evaluation.pages import render
from dfd.evaluation.protocol import Protocol, videos_of
from dfd.evaluation.tables import SHOWN, cells, counted, intervals_caption, markdown_table, rows

log = logging.getLogger(__name__)

PREDICTIONS, MISSING, FACTS, METRICS = "predictions.parquet", "missing.parquet", "facts.json", "metrics.json"
CONFUSION = ("tn", "fp", "fn", "tp")
PROVENANCE = (
    "model", "dataset", "trained_on", "condition", "split", "checkpoint", "initialised_from", "manifest", "seed",
    "command", "started", "seconds", "cost",
)  # fmt: skip
SAMPLE = "**SAMPLE: made on the rendered stand-in, not on real data. Not comparable with any published number.**"


def write_report(folder: Path, protocol: Protocol | None = None) -> Evaluation:
    """Evaluate the folder's prediction table and write `metrics.json`, `report.md` and `report.html` beside it.

    Without a protocol the folder's own is used again.
    """
    table, _ = predictions.read(folder / PREDICTIONS)
    missing = pd.read_parquet(folder / MISSING) if (folder / MISSING).is_file() else None
    facts, operating = read_facts(folder), Operating.read(folder)
    protocol = protocol or _protocol(folder)
    evaluation = evaluate(
        table,
        protocol,
        missing=missing,
        operating=operating,
        clips=bool(facts.get("clips")),
        noun=facts.get("noun"),
    )
    evaluation.baselines.update(_probe(folder, facts))
    (folder / METRICS).write_text(evaluation.to_json())
    (folder / "report.md").write_text(markdown(evaluation, facts), encoding="utf-8")
    (folder / "report.html").write_text(html(evaluation, facts, table, operating, missing), encoding="utf-8")
    return evaluation


def read_facts(folder: Path) -> dict[str, Any]:
    """Return the facts that the run wrote about itself; empty if it wrote none."""
    path = folder / FACTS
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise DfdError(f"{path} is damaged ({error}): evaluate the run again") from error


def read_evaluation(folder: Path) -> Evaluation:
    """Return the numbers of an evaluation folder."""
    try:
        return Evaluation.from_json((folder / METRICS).read_text())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DfdError(
            f"{folder / METRICS} is damaged or of an older version ({error}): --rewrite computes it again"
        ) from error


def markdown(evaluation: Evaluation, facts: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    parts = [f"# {_title(facts)}"]
    parts += [SAMPLE] if facts.get("sample") else []
    parts += [evaluation.protocol.sentence(), markdown_table(*cells(evaluation))]
    parts.append(f"{counted(evaluation)}. Brackets: {intervals_caption(evaluation)}.")
    remarks = [*evaluation.notes, *facts.get("notes", [])]
    if facts.get("scaled_down"):
        remarks.append("scaled down for the sample: " + ", ".join(f"{k}={v}" for k, v in facts["scaled_down"].items()))
    parts += ["\n".join(f"* {remark}" for remark in remarks)] if remarks else []
    parts += _more_tables(evaluation)
    failures = facts.get("failures", [])
    parts.append("## Left out\n\n" + ("\n".join(_failure_lines(failures)) or "Nothing."))
    provenance = [f"* {key.replace('_', ' ')}: `{facts[key]}`" for key in PROVENANCE if facts.get(key) is not None]
    parts.append("## Provenance\n\n" + "\n".join(provenance))
    return "\n\n".join(parts) + "\n"


def html(
    evaluation: Evaluation,
    facts: Mapping[str, Any],
    table: pd.DataFrame,
    operating: Operating | None = None,
    missing: pd.DataFrame | None = None,
) -> str:
    """Return the report as one self-contained page."""
    videos = videos_of(table, evaluation.protocol, missing)
    return render(
        "report",
        figures(videos, evaluation.protocol, facts, operating),
        title=_title(facts),
        facts=facts,
        evaluation=evaluation,
        operating=operating,
        band=_band(videos, operating),
        names=NAMES,
        shown=SHOWN,
        rows=list(rows(evaluation)),
        counted=counted(evaluation),
        caption=intervals_caption(evaluation),
        bar=bar,
        mistakes=_mistakes(videos, facts, evaluation.threshold),
        reasons=Counter(failure["reason"] for failure in facts.get("failures", [])),
        provenance=[(key.replace("_", " "), facts[key]) for key in PROVENANCE if facts.get(key) is not None],
    )


def bar(number: Number) -> Markup:
    """Return a number as a small drawing for a page."""
    return Markup(interval_bar(number.value, number.low, number.high))


def _protocol(folder: Path) -> Protocol:
    path = folder / METRICS
    return read_evaluation(folder).protocol if path.is_file() else Protocol()


def _probe(folder: Path, facts: Mapping[str, Any]) -> dict[str, Numbers]:
    """Return the linear probe that was evaluated on the same split, if one lies among the runs beside this one."""
    if facts.get("probe") or folder.parent.name != "eval":
        return {}
    for path in sorted(folder.absolute().parents[2].glob(f"*/eval/{folder.name}/{FACTS}")):
        if path.parent == folder or not (path.parent / METRICS).is_file():
            continue
        try:
            theirs = read_facts(path.parent)
            if theirs.get("probe") and theirs.get("manifest") == facts.get("manifest"):
                return {f"linear probe ({theirs.get('model', '?')})": read_evaluation(path.parent).video}
        except DfdError as error:
            log.warning("no row of a linear probe from there: %s", error)
    return {}


def _title(facts: Mapping[str, Any]) -> str:
    return str(facts.get("title", "Evaluation"))


def _more_tables(evaluation: Evaluation) -> list[str]:
    """Return the tables that Markdown shows below the first: attributes, decisions, calibration, other codes."""
    names = ("auc", "ap", "eer", "accuracy")
    parts = []
    for attribute, values in evaluation.slices.items():
        body = [[value, *(str(numbers[name]) for name in names)] for value, numbers in values.items()]
        parts.append(f"## By {attribute}\n\n" + markdown_table([attribute, *(NAMES[name] for name in names)], body))
    points = [
        [words, *(f"{number.value:.0f}" if name in CONFUSION else str(number) for name, number in point.items())]
        for words, point in evaluation.points.items()
    ]
    header = ["threshold", "value", "acc", "balanced acc", "F1", "FPR", "TPR", *(name.upper() for name in CONFUSION)]
    parts.append("## Decisions\n\n" + markdown_table(header, points))
    if evaluation.calibrated:
        body = [[method, *(f"{value:.3f}" for value in v.values())] for method, v in evaluation.calibrated.items()]
        header = ["", "log loss", "Brier", "ECE", "ECE if calibrated"]
        parts.append("## Calibration, fitted on validation\n\n" + markdown_table(header, body))
    if evaluation.compatible:
        body = [[p.name, f"{p.theirs:.4f}", f"{p.ours:.4f}", p.why] for p in evaluation.compatible]
        parts.append("## Compatible and correct\n\n" + markdown_table(["", "theirs", "right", "why"], body))
    return parts


def _band(videos: pd.DataFrame, operating: Operating | None) -> dict[str, Any] | None:
    """Count what the band holds, and the mistakes outside it."""
    if operating is None or operating.band is None:
        return None
    low, high = operating.band
    real, fake = (videos.loc[videos["label"] == label, "score"] for label in (0, 1))
    inside = int(videos["score"].between(low, high).sum())
    wrong = {"reals": int((real > high).sum()), "fakes": int((fake < low).sum())}
    return {"inside": inside} | wrong


def _mistakes(videos: pd.DataFrame, facts: Mapping[str, Any], threshold: float) -> list[dict[str, Any]]:
    """Return the videos on the wrong side of the threshold, the most wrong first, with a picture where there is one."""
    wrong = videos[(videos["score"] >= threshold) != (videos["label"] == 1)]
    worst = (
        wrong.assign(by=(wrong["score"] - threshold).abs()).sort_values("by", ascending=False, kind="stable").head(12)
    )
    pictures = {"thumbnail": facts.get("thumbnails", {}), "heat": facts.get("heat_maps", {})}
    return [
        row | {name: found.get(row["video"]) for name, found in pictures.items()} for row in worst.to_dict("records")
    ]


def _failure_lines(failures: list[Mapping[str, Any]]) -> list[str]:
    counts = Counter(failure["reason"] for failure in failures)
    lines = [f"* {count} x {reason}" for reason, count in counts.most_common()]
    return lines + [f"  * `{f['video']}`: {f['detail']}" for f in failures[:50]]
