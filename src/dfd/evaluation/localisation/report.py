"""An evaluation folder of proposals to a report: JSON, Markdown and HTML, with the timelines of some files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from rich.table import Table

from dfd.core import segments
from dfd.core.errors import DfdError
from dfd.core.records import FAKE
from dfd.evaluation.localisation.evaluate import Numbers, SegmentEvaluation, evaluate_segments
from dfd.evaluation.localisation.timeline import Stretch, timeline
from dfd.evaluation.localisation.truth import Truth
from dfd.evaluation.numbers import UNDEFINED
from dfd.evaluation.pages import render
from dfd.evaluation.report import FACTS, METRICS, PROVENANCE, SAMPLE, bar, read_facts

SEGMENTS = "segments.parquet"
NAMES = {"lavdf": "LAV-DF", "lavdf_closed": "LAV-DF, closed tail", "activitynet": "ActivityNet"}
MEANING = {
    "lavdf": "an IoU must exceed its threshold; the first step of a curve is left out, as LAV-DF's tools do",
    "lavdf_closed": "the same with the first step of the curve",
    "activitynet": "an IoU must reach its threshold; AR@N takes a share of all proposals, those of real files included",
}
HEADLINE = ("lavdf_closed", ("ap@0.5", "ap@0.75", "ap@0.95", "ar@10"))
SHOWN = 12  # files whose timelines are drawn


def write_segment_report(folder: Path, confidence: float = 0.95) -> SegmentEvaluation:
    """Evaluate the folder's proposals and write `metrics.json`, `report.md` and `report.html` beside them."""
    proposals, truth = segments.read(folder / SEGMENTS)[0], Truth.read(folder)
    evaluation = evaluate_segments(proposals, truth, confidence)
    facts = read_facts(folder)
    (folder / METRICS).write_text(evaluation.to_json())
    (folder / "report.md").write_text(markdown(evaluation, facts), encoding="utf-8")
    (folder / "report.html").write_text(html(evaluation, facts, proposals, truth), encoding="utf-8")
    return evaluation


def read_segment_evaluation(folder: Path) -> SegmentEvaluation:
    """Return the numbers of an evaluation folder."""
    try:
        return SegmentEvaluation.from_json((folder / METRICS).read_text())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DfdError(f"{folder / METRICS} is damaged or of an older version ({error})") from error


def is_segment_report(folder: Path) -> bool:
    """Whether a folder holds an evaluation of proposals."""
    return (folder / SEGMENTS).is_file() and (folder / FACTS).is_file()


def segment_table(evaluation: SegmentEvaluation, title: str) -> Table:
    """Return the numbers for the terminal: a column per protocol."""
    table = Table(title=title, caption=counted(evaluation))
    table.add_column("")
    for name in evaluation.protocols:
        table.add_column(NAMES[name], justify="right")
    for key in evaluation.protocols["lavdf"]:
        row = (numbers.get(key, UNDEFINED) for numbers in evaluation.protocols.values())
        table.add_row(key.upper() if "@" in key else key, *map(str, row))
    for key, number in evaluation.files.items():
        table.add_row(key, *[str(number)] * len(evaluation.protocols))
    return table


def headline(evaluation: SegmentEvaluation) -> str:
    """Return the headline in one line, with intervals."""
    protocol, keys = HEADLINE
    numbers = evaluation.protocols[protocol]
    shown = ", ".join(f"{key.upper()} {numbers[key]}" for key in keys)
    return f"{NAMES[protocol]}: {shown}; file AUC {evaluation.files['file AUC']}"


def counted(evaluation: SegmentEvaluation) -> str:
    """Return what was counted, in words."""
    c = evaluation.counts
    return (
        f"{c['files']} files ({evaluation.ratio}) of {c['groups']} groups, {c['stretches']} forged stretches, "
        f"{c['proposals']} proposals; {100 * evaluation.confidence:g} % jackknife intervals over groups"
    )


def markdown(evaluation: SegmentEvaluation, facts: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    parts = [f"# {title_of(facts)}"]
    parts += [SAMPLE] if facts.get("sample") else []
    parts.append(headline(evaluation) + ".")
    parts.append(_markdown_table("protocol", {NAMES[name]: n for name, n in evaluation.protocols.items()}))
    parts.append(counted(evaluation) + ".")
    parts.append("\n".join(f"* {NAMES[name]}: {meaning}" for name, meaning in MEANING.items()))
    parts.append("## Files and frames\n\n" + _markdown_table("", {"all": evaluation.files}))
    if evaluation.subsets:
        named = {NAMES[name]: numbers for name, numbers in evaluation.subsets.items()}
        parts.append("## Visual subset\n\n" + _markdown_table("protocol", named))
    for name, numbers in (("stream", evaluation.streams), ("length", evaluation.lengths)):
        if numbers:
            rows = "\n".join(f"| {key} | {number} |" for key, number in numbers.items())
            parts.append(f"## AR@10 by {name}\n\n| {name} | AR@10 |\n|---|--:|\n{rows}")
    remarks = [*evaluation.notes, *facts.get("notes", []), *_decoding(facts)]
    if facts.get("scaled_down"):
        remarks.append("scaled down for the sample: " + ", ".join(f"{k}={v}" for k, v in facts["scaled_down"].items()))
    parts += ["\n".join(f"* {remark}" for remark in remarks)] if remarks else []
    failures = [f"* {f['video']}: {f['reason']} {f.get('detail', '')}" for f in facts.get("failures", [])]
    parts.append("## Left out\n\n" + ("\n".join(failures) or "Nothing."))
    parts.append("## Provenance\n\n" + "\n".join(f"* {key}: `{value}`" for key, value in _provenance(facts)))
    return "\n\n".join(parts) + "\n"


def html(evaluation: SegmentEvaluation, facts: Mapping[str, Any], proposals: pd.DataFrame, truth: Truth) -> str:
    """Return the report as one self-contained page."""
    return render(
        "segments",
        [],
        title=title_of(facts),
        facts=facts,
        evaluation=evaluation,
        names=NAMES,
        meaning=MEANING,
        headline=[(key.upper(), evaluation.protocols[HEADLINE[0]][key]) for key in HEADLINE[1]],
        counted=counted(evaluation),
        bar=bar,
        remarks=[*evaluation.notes, *facts.get("notes", []), *_decoding(facts)],
        drawn=[(name, Markup(drawing)) for name, drawing in drawn(proposals, truth)],
        provenance=_provenance(facts),
    )


def drawn(proposals: pd.DataFrame, truth: Truth, most: int = SHOWN) -> list[tuple[str, str]]:
    """Return timelines of some files: fakes spread over the split, and the real ones that look most forged."""
    best = proposals.groupby("video")["score"].max()
    files = truth.files.assign(best=truth.files["video"].map(best).fillna(0.0))
    fakes, reals = files[files["label"] == FAKE], files[files["label"] != FAKE]
    count = min(len(fakes), max(1, most * 2 // 3))
    spread = fakes.iloc[np.unique(np.linspace(0, len(fakes) - 1, count).astype(int))] if len(fakes) else fakes
    suspect = reals.sort_values("best", ascending=False, kind="stable").head(most - len(spread))
    return [(str(file.video), _drawing(file, proposals, truth)) for file in pd.concat([spread, suspect]).itertuples()]


def title_of(facts: Mapping[str, Any]) -> str:
    """Return the title of a report."""
    return str(facts.get("title") or f"{facts.get('model', '?')} on {facts.get('dataset', '?')}")


def _drawing(file: Any, proposals: pd.DataFrame, truth: Truth) -> str:
    found = proposals[(proposals["video"] == file.video) & (proposals["dataset"] == file.dataset)]
    known = truth.stretches[(truth.stretches["video"] == file.video) & (truth.stretches["dataset"] == file.dataset)]
    return timeline(
        float(file.duration),
        [Stretch(p.start, p.end, p.score, p.stream) for p in found.itertuples()],
        [Stretch(s.start, s.end, 1.0, s.stream) for s in known.itertuples()],
        title=str(file.video),
    )


def _decoding(facts: Mapping[str, Any]) -> list[str]:
    how = facts.get("decoding")
    return ["decoding: " + ", ".join(f"{key}={value}" for key, value in how.items())] if how else []


def _markdown_table(corner: str, rows: Mapping[str, Numbers]) -> str:
    keys = list(dict.fromkeys(key for numbers in rows.values() for key in numbers))
    lines = [f"| {corner} | " + " | ".join(keys) + " |", "|---|" + "--:|" * len(keys)]
    for name, numbers in rows.items():
        lines.append(f"| {name} | " + " | ".join(str(numbers.get(key, UNDEFINED)) for key in keys) + " |")
    return "\n".join(lines)


def _provenance(facts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(key.replace("_", " "), facts[key]) for key in PROVENANCE if facts.get(key) is not None]
