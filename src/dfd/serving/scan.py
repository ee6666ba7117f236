"""Judge a folder without a server: a line of JSON per file as it comes, a table and a page; stopped, it goes on."""

import hashlib
import html
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dfd.core.errors import DfdError
from dfd.inference.engine import Engine
from dfd.inference.restoring import TwiceEngine
from dfd.inference.results import verdict_row
from dfd.inference.sandbox import Limits
from dfd.inference.verdict import FAKE, INCONCLUSIVE, NOT_JUDGED, REAL, FileResult

LINES, TABLE, PAGE, SETTINGS = "results.jsonl", "results.csv", "index.html", "scan.json"
EXIT = {REAL: 0, FAKE: 10, INCONCLUSIVE: 11, NOT_JUDGED: 3}  # of a whole scan: the worst of its files, in this order
ORDER = (FAKE, INCONCLUSIVE, NOT_JUDGED, REAL)


@dataclass(frozen=True)
class Scan:
    """A folder of results, and what its lines were made with.

    Args:
        folder: of the results.
        settings: what judged: runs, weights, options; other settings need another folder.
    """

    folder: Path
    settings: dict[str, Any]

    def open(self) -> dict[str, dict[str, Any]]:
        """Return the lines that are there, by file; refuse a folder of other settings."""
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / SETTINGS
        if note.is_file() and json.loads(note.read_text()) != self.settings:
            raise DfdError(f"out={self.folder} holds a scan with other settings: give another folder")
        note.write_text(json.dumps(self.settings, indent=2))
        lines: dict[str, dict[str, Any]] = {}
        whole = []
        for line in _lines(self.folder / LINES):
            try:
                row = json.loads(line)
            except ValueError:  # the last one, where the scan was killed
                continue
            lines[row["key"]] = row
            whole.append(line)
        (self.folder / LINES).write_text("".join(f"{line}\n" for line in whole), encoding="utf-8")
        return lines

    def add(self, line: dict[str, Any]) -> None:
        """Keep a line."""
        with (self.folder / LINES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def write(self, lines: Sequence[dict[str, Any]]) -> None:
        """Write the table and the page."""
        table = pd.DataFrame(lines).drop(columns=["key", "people"], errors="ignore")
        table.to_csv(self.folder / TABLE, index=False)
        (self.folder / PAGE).write_text(_page(table, self.settings), encoding="utf-8")


def scan(
    files: Sequence[Path], engine: Engine, out: Scan, workers: int | None = None, limits: Limits | None = None,
    track: Callable[[Iterable[FileResult], int], Iterable[FileResult]] = lambda results, total: results,
) -> list[dict[str, Any]]:  # fmt: skip
    """Judge the files that are not in `out` yet, and return a line for each of all.

    Args:
        files: in order.
        engine: judges.
        out: where lines go as they come.
        workers: processes that decode.
        limits: of a file.
        track: shows progress.
    """
    known = out.open()
    keys = {path: _key(path) for path in files}
    waiting = [path for path in files if keys[path] not in known]
    for result in track(engine.judge_all(waiting, workers, limits), len(waiting)):
        line = {"key": keys[result.path], **_line(result), **_restored(engine, result)}
        known[line["key"]] = line
        out.add(line)
    lines = [known[keys[path]] for path in files]
    out.write(lines)
    return lines


def exit_status(lines: Sequence[dict[str, Any]]) -> int:
    """Return the exit status of a scan: 0 all real, 10 a fake, 11 an inconclusive file, 3 one that was not judged."""
    verdicts = {line["verdict"] for line in lines}
    return next((EXIT[verdict] for verdict in ORDER if verdict in verdicts), 0)


def _line(result: FileResult) -> dict[str, Any]:
    row = {name: None if isinstance(v, float) and not np.isfinite(v) else v for name, v in verdict_row(result).items()}
    seen = result.views[0]
    people = [
        {"person": int(person), "t": seen.t[rows].round(4).tolist(), "score": seen.score[rows].astype(float).tolist()}
        for person in np.unique(seen.track)
        for rows in [seen.track == person]
    ]
    return {**row, "people": people}


def _restored(engine: Engine, result: FileResult) -> dict[str, Any]:
    """Return what the file looks like restored, where that was asked for."""
    if not isinstance(engine, TwiceEngine):
        return {}
    second = engine.second.pop(result.path, None)
    if second is None or second.result is None:
        return {"sharpness": second and second.sharpness, "restored_verdict": None, "restored_score": None}
    restored = second.result
    return {"sharpness": second.sharpness, "restored_verdict": restored.verdict, "restored_score": restored.score}


def _key(path: Path) -> str:
    """Name a file as it is now: where, how large, of when."""
    status = path.stat()
    text = f"{path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def _lines(path: Path) -> Iterator[str]:
    if path.is_file():
        yield from path.read_text(encoding="utf-8", errors="replace").splitlines()


def _page(table: pd.DataFrame, settings: dict[str, Any]) -> str:
    """Return a page of one table, most suspect first; it needs nothing but itself."""
    rank = table["verdict"].map({verdict: at for at, verdict in enumerate(ORDER)})
    rows = table.assign(rank=rank).sort_values(["rank", "score"], ascending=[True, False])
    body = "".join(
        f"<tr class={html.escape(str(row.verdict)).split(' ')[0]}><td>{html.escape(str(row.file))}<td>"
        f"{html.escape(str(row.verdict))}<td>{_shown(row.probability)}<td>{_shown(row.score)}"
        f"<td>{html.escape(str(row.reason or ''))}"
        for row in rows.itertuples()
    )
    counts = ", ".join(f"{count} {name}" for name, count in table["verdict"].value_counts().items())
    return f"""<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>Scan</title><style>:root{{color-scheme:light dark}}body{{font:1rem/1.5 system-ui;margin:1rem auto;
max-width:70rem;padding:0 1rem}}table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;padding:.3rem .6rem;
border-bottom:1px solid #8886;overflow-wrap:anywhere}}.fake td:nth-child(2){{font-weight:700;color:#c0392b}}</style>
<h1>{html.escape(counts)}</h1><p>Judged by {html.escape(", ".join(settings["run"]))}. Higher scores mean more likely
fake; a score is not proof.</p><table><thead><tr><th>File<th>Verdict<th>Probability of fake<th>Score<th>Reason</thead>
<tbody>{body}</table></html>"""


def _shown(value: Any) -> str:
    return "" if value is None or pd.isna(value) else f"{value:.3f}"
