"""What a job leaves besides its result: names that are allowed, and scores as a table."""

import csv
import io
import re
from typing import Any

RESULT, SCORES = "result.json", "scores.csv"
NAMES = re.compile(r"result\.json|scores\.csv|(evidence|faces)-\d{1,3}\.(png|jpg)")
KINDS = {"json": "application/json", "csv": "text/csv; charset=utf-8", "png": "image/png", "jpg": "image/jpeg"}


def media_type(name: str) -> str:
    """Return the type of an artefact."""
    return KINDS[name.rpartition(".")[2]]


def scores_csv(result: dict[str, Any]) -> str:
    """Return a row per scored view: run, person, seconds, score (higher = fake)."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["run", "person", "t", "score (higher = fake)"])
    for run in result["runs"]:
        for person in run.get("people", []):
            writer.writerows([run["run"], person["person"], t, s] for t, s in zip(person["t"], person["score"]))
    return out.getvalue()
