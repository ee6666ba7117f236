"""Runs compared: one row per run and evaluated dataset; runs on the sample are kept apart."""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from dfd.core import predictions
from dfd.core.errors import DfdError
from dfd.evaluation.evaluate import Evaluation
from dfd.evaluation.numbers import NAMES, Number
from dfd.evaluation.pages import render
from dfd.evaluation.report import METRICS, PREDICTIONS, bar, read_evaluation, read_facts
from dfd.evaluation.tables import caption, latex_table, markdown_table
from dfd.evaluation.versus import Versus, corrected, versus

log = logging.getLogger(__name__)

SHOWN = ("run", "model", "seed", "dataset", "split", "protocol", "AUC", "AP", "EER", "frame AUC", "videos")
SHORT = ("AUC", "run", "model", "dataset", "frame AUC")  # in the terminal, whose lines are short
SAID = (
    "model",
    "data",
    "seed",
    "name",
    "run",
    "run_dir",
    "split",
    "output",
    "sweep",
)  # overrides with columns, or none
MOST_SETTINGS = 4  # columns of settings in which runs differ
ONCE = ("home", "dataset", "split")  # of these a run has one evaluation, or several
MOST_PAIRS = 45  # of runs on one dataset: nobody reads more


def find(paths: Sequence[Path]) -> list[Path]:
    """Return the evaluation folders at or below the given ones, each once."""
    found: dict[Path, None] = {}
    for path in outermost(paths):
        if not path.is_dir():
            raise DfdError(f"no run at {path}: give run folders (outputs/...)")
        below = [path / METRICS] if (path / METRICS).is_file() else sorted(path.glob(f"**/eval/*/{METRICS}"))
        found |= dict.fromkeys(metrics.parent for metrics in below)
    return list(found)


def outermost(paths: Sequence[Path]) -> list[Path]:
    """Leave out what lies within another of the paths: outputs/** names a run and every folder in it."""
    given = set(paths)
    return [path for path in dict.fromkeys(paths) if not given.intersection(path.parents)]


def collect(paths: Sequence[Path]) -> pd.DataFrame:
    """Return a row per evaluation under the given run (or evaluation) folders, real data first, the best first."""
    empty = [path for path in outermost(paths) if not find([path])]
    if empty:
        log.warning("%d folder(s) without an evaluation are left out, the first %s", len(empty), empty[0])
    rows = list(_rows(find(paths)))
    if not rows:
        raise DfdError(f"no evaluation under {', '.join(map(str, paths))}: run eval.py on these runs first")
    table = pd.DataFrame(rows).sort_values(["sample", "auc"], ascending=[True, False], kind="stable", ignore_index=True)
    real = table[~table["sample"]]
    rank = real.groupby(["dataset", "split"])["auc"].rank(ascending=False, method="min")
    # the sample is never ranked
    return table.assign(rank=rank.reindex(table.index), run=_told_apart(table))


def newest(table: pd.DataFrame, alike: Sequence[str] = ()) -> pd.DataFrame:
    """Keep the newest of several evaluations of one run on one dataset and split (and with equal columns `alike`)."""
    order = table.sort_values("made", kind="stable")
    return table.loc[sorted(order.drop_duplicates([*ONCE, *alike], keep="last").index)]


def repeated(table: pd.DataFrame) -> list[str]:
    """Say which runs were evaluated several times on one dataset."""
    return [
        f"{part['run'].iloc[0]} was evaluated {len(part)} times on {dataset} ({split}): the matrix and the means over "
        f"seeds take the newest, {part.sort_values('made', kind='stable')['folder'].iloc[-1]}"
        for (_, dataset, split), part in table.groupby(list(ONCE), sort=False)
        if len(part) > 1
    ]


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean and standard deviation of what was trained alike with at least two seeds."""
    alike = ["model", "trained_on", "dataset", "split", "sample", "settings"]
    rows = []
    for key, part in newest(table, ["settings"]).groupby(alike, dropna=False):
        if part["seed"].nunique() > 1:
            deviation = part["auc"].std(ddof=1)
            said = {"AUC": f"{part['auc'].mean():.3f} ± {deviation:.3f}", "auc": part["auc"].mean(), "sd": deviation}
            rows.append(dict(zip(alike, key, strict=True)) | {"seeds": part["seed"].nunique()} | said)
    return pd.DataFrame(rows)


def matrix(table: pd.DataFrame) -> tuple[list[str], list[tuple[str, list[Number | None], float]]]:
    """Return datasets, and per run its AUC on each and their mean where it was evaluated on all of them."""
    columns = list(dict.fromkeys(table["dataset"]))
    rows = []
    for _, part in newest(table[table["split"] == "test"]).groupby("home", sort=False):
        numbers = {row["dataset"]: Number(row["auc"], row["auc_low"], row["auc_high"]) for _, row in part.iterrows()}
        cells = [numbers.get(name) for name in columns]
        whole = [cell.value for cell in cells if cell is not None]
        rows.append(
            (str(part["run"].iloc[0]), cells, float(np.mean(whole)) if len(whole) == len(columns) else float("nan"))
        )
    return columns, rows


def pairs(table: pd.DataFrame) -> tuple[list[Versus], list[str]]:
    """Compare runs on the same dataset and split in pairs; return the tests, and what was not tested and why."""
    found: list[Versus] = []
    notes = []
    for (dataset, _), part in table.groupby(["dataset", "split"], sort=False):
        if len(part) < 2:
            continue
        if len(part) * (len(part) - 1) // 2 > MOST_PAIRS:
            notes.append(f"{dataset}: {len(part)} runs make too many pairs; the ten best were compared")
            part = part.head(10)
        names = part["run"].where(~part["run"].duplicated(keep=False), part["folder"])
        folders = [Path(folder) for folder in part["folder"]]
        protocol = read_evaluation(folders[0]).protocol
        try:
            tables = {n: predictions.read(f / PREDICTIONS)[0] for n, f in zip(names, folders, strict=True)}
            found += versus(tables, protocol, str(dataset))
        except DfdError as error:
            notes.append(f"{dataset}: {error}")
    return corrected(found), notes


def comparison_table(table: pd.DataFrame) -> Table:
    """Return the comparison for the terminal."""
    shown = Table(title="Comparison", caption=_caption(table))
    for name in SHORT:
        shown.add_column(name, justify="right" if "AUC" in name else "left", overflow="fold")
    for _, row in table.iterrows():
        shown.add_row(*(str(row[name]) for name in SHORT))
    return shown


def differing(table: pd.DataFrame) -> dict[str, list[str]]:
    """Return the settings that were typed and in which runs differ, one value per row."""
    typed = [dict(text.lstrip("+").partition("=")[::2] for text in row.split()) for row in table["overrides"]]
    names = dict.fromkeys(name for row in typed for name in row if name not in SAID and not name.startswith("hydra"))
    columns = {name: [row.get(name, "") for row in typed] for name in names}
    return dict([(name, values) for name, values in columns.items() if len(set(values)) > 1][:MOST_SETTINGS])


def write_comparison(
    table: pd.DataFrame, folder: Path, pairs: Sequence[Versus] = (), notes: Sequence[str] = ()
) -> Path:
    """Write `comparison.{csv,md,tex,json,html}` into a folder; return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds, notes = over_seeds(table), [*notes, *repeated(table)]
    table.to_csv(folder / "comparison.csv", index=False)
    body = [[row[name] for name in SHOWN] for _, row in table.iterrows()]
    parts = [markdown_table(SHOWN, body), _caption(table)]
    if len(seeds):
        columns = ["model", "trained_on", "dataset", "seeds", "AUC"]
        parts.append("## Over seeds, mean ± sd\n\n" + markdown_table(columns, seeds[columns].to_numpy().tolist()))
    parts += ["## In pairs\n\n" + "\n".join(f"* {pair.verdict()}" for pair in pairs)] if pairs else []
    parts += ["\n".join(f"* {note}" for note in notes)] if notes else []
    (folder / "comparison.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    (folder / "comparison.tex").write_text(latex_table(SHOWN, body), encoding="utf-8")
    data = {"runs": table.to_dict("records"), "seeds": seeds.to_dict("records"), "pairs": [p.plain() for p in pairs]}
    (folder / "comparison.json").write_text(json.dumps(data, indent=2, default=str).replace("NaN", "null"))
    (folder / "comparison.html").write_text(_page(table, seeds, pairs, notes), encoding="utf-8")
    return folder / "comparison.html"


def _page(table: pd.DataFrame, seeds: pd.DataFrame, pairs: Sequence[Versus], notes: Sequence[str]) -> str:
    def number(row: Any) -> Number:
        return Number(row["auc"], row["auc_low"], row["auc_high"])

    parts = [
        (name, table[table["sample"] == sample]) for name, sample in (("Real data", False), ("Rendered sample", True))
    ]
    boards = [
        {
            "name": name,
            "sample": bool(part["sample"].iloc[0]),
            "rows": [(row, number(row)) for row in part.to_dict("records")],
            "settings": differing(part),
            "matrix": matrix(part),
        }
        for name, part in parts
        if len(part)
    ]
    rows = seeds.to_dict("records")
    words = {"title": "Leaderboard", "caption": caption(), "names": NAMES, "notes": notes, "bar": bar}
    return render("leaderboard", [], boards=boards, seeds=rows, pairs=pairs, **words)


def _rows(folders: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for folder in folders:
        try:
            evaluation, facts = read_evaluation(folder), read_facts(folder)
        except DfdError as error:
            log.warning("%s (left out)", error)
            continue
        yield _row(evaluation, facts, folder)


def _row(evaluation: Evaluation, facts: dict[str, Any], folder: Path) -> dict[str, Any]:
    video, overrides = evaluation.video, facts.get("overrides", [])
    return {
        "run": facts.get("run", _home(facts, folder).name),
        "model": facts.get("model", "?"),
        "seed": facts.get("seed", ""),
        "dataset": facts.get("dataset", folder.name),
        "split": facts.get("split", "test"),
        "AUC": str(video["auc"]),
        "AP": video["ap"].short(),
        "EER": video["eer"].short(),
        "frame AUC": evaluation.frame["auc"].short(),
        "log loss": video["log_loss"].short(),
        "videos": evaluation.counts["videos"],
        "left_out": evaluation.counts.get("without_prediction", 0),
        "sample": bool(facts.get("sample")),
        "probe": bool(facts.get("probe")),
        "auc": video["auc"].value,
        "auc_low": video["auc"].low,
        "auc_high": video["auc"].high,
        "protocol": evaluation.protocol.name,
        "trained_on": facts.get("trained_on", "?"),
        "touches": len(facts.get("touches", [])),
        "overrides": " ".join(overrides),
        "settings": _settings(evaluation, facts),
        "folder": str(folder),
        "home": str(_home(facts, folder)),
        "made": _made(facts, folder),
    }


def _settings(evaluation: Evaluation, facts: dict[str, Any]) -> str:
    """Return all that makes two numbers comparable but for the seed: how was it trained, and how evaluated."""
    if facts.get("recipe"):
        return f"recipe {facts['recipe']}; {evaluation.protocol.sentence()}"
    apart = ("seed=", "name=", "run=", "run_dir=")
    return " ".join(sorted(text for text in facts.get("overrides", []) if not text.startswith(apart)))


def _home(facts: dict[str, Any], folder: Path) -> Path:
    """Return the folder of the run that was evaluated; evaluations may lie elsewhere."""
    if folder.parent.name == "eval" or not facts.get("checkpoint"):
        return folder.absolute().parents[1]
    checkpoint = Path(facts["checkpoint"]).absolute()
    return checkpoint.parents[1] if checkpoint.parent.name == "checkpoints" else checkpoint


def _made(facts: dict[str, Any], folder: Path) -> str:
    """Return when an evaluation was made, for sorting: `started` knows minutes only, a copied file the copy's time."""
    file = folder / PREDICTIONS if (folder / PREDICTIONS).is_file() else folder / METRICS
    return f"{facts.get('started', '')} {datetime.fromtimestamp(file.stat().st_mtime).isoformat()}".strip()


def _told_apart(table: pd.DataFrame) -> pd.Series:
    """Return the runs' names, longer by what their folders differ in where two runs share one."""
    homes: dict[str, list[str]] = {}
    for name, part in table.groupby("run"):
        homes[str(name)] = sorted(set(part["home"]))
    longer = {
        home: str(Path(home).relative_to(os.path.commonpath([Path(each).parent for each in several])))
        for several in homes.values()
        if len(several) > 1
        for home in several
    }
    return table["home"].map(longer).fillna(table["run"])


def _caption(table: pd.DataFrame) -> str:
    text = f"By video; brackets are {caption()}."
    return text + (" Rows on the rendered SAMPLE compare with no real ones." if table["sample"].any() else "")
