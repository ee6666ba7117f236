"""Tables of predictions that nobody should have written, made where they are needed."""

import io
import json
import pickle
from collections.abc import Iterator

import numpy as np
import pandas as pd

GOOD = "video,score,label\na.mp4,0.1,0\nb.mp4,0.9,1\nc.mp4,0.2,0\nd.mp4,0.8,1\n"


class Runs:
    """A pickle of it would run a command."""

    def __reduce__(self):
        return (print, ("this must never be printed",))


def _parquet(frame: pd.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.to_parquet(out)
    return out.getvalue()


def hostile_reports() -> Iterator[tuple[str, bytes]]:
    """Yield names and contents."""
    yield "empty.csv", b""
    yield "blank_lines.csv", b"\n\n\n"
    yield "only_a_header.csv", b"video,score,label\n"
    yield "binary.csv", bytes(range(256)) * 40
    yield "utf16.csv", GOOD.encode("utf-16")
    yield "latin1.csv", "video,score,label\nzo\xeb.mp4,0.5,1\n".encode("latin-1")
    yield "nul_bytes.csv", GOOD.replace("a.mp4", "a\0.mp4").encode()
    yield "million_columns.csv", (",".join(f"c{i}" for i in range(200_000)) + "\n").encode()
    yield "long_line.csv", b"video,score,label\n" + b"a" * 5_000_000 + b",0.5,1\n"
    yield "open_quote.csv", b'video,score,label\n"a.mp4,0.5,1\n' + b"b.mp4,0.4,0\n" * 50
    yield "ragged.csv", b"video,score,label\na.mp4,0.5\nb.mp4,0.5,1,7,8\n"
    yield "words_as_scores.csv", b"video,score,label\na.mp4,high,1\nb.mp4,low,0\n"
    yield "infinite.csv", b"video,score,label\na.mp4,inf,1\nb.mp4,-inf,0\nc.mp4,nan,1\n"
    yield "huge_numbers.csv", b"video,score,label\na.mp4,1e400,1\nb.mp4,-1e400,0\n"
    yield "other_labels.csv", b"video,score,label\na.mp4,0.5,maybe\nb.mp4,0.4,7\n"
    yield "one_class.csv", b"video,score,label\na.mp4,0.5,1\nb.mp4,0.4,1\n"
    yield "formulas.csv", b"video,score,label\n=cmd|' /C calc'!A0,0.5,1\n@SUM(1),0.4,0\n"
    yield "escapes.csv", b"video,score,label\n\x1b[31mred\x1b]0;title\x07.mp4,0.5,1\nb.mp4,0.4,0\n"
    yield (
        "markup.csv",
        b"video,score,label,method\n<script>alert(1)</script>,0.5,1,<img src=x onerror=alert(1)>\nb,0.4,0,real\n",
    )
    yield "dots.csv", b"video,score,label\n../../etc/passwd,0.5,1\n/etc/shadow,0.4,0\n"
    yield "twice.csv", b"video,video,score,score,label\na,b,0.5,0.1,1\nc,d,0.4,0.2,0\n"
    yield "nested.json", b"[" * 100_000 + b"]" * 100_000
    yield "cut.json", json.dumps({"a.mp4": 0.5}).encode()[:-3]
    yield "number.json", b"7"
    yield "deep.json", json.dumps({"a": {"b": {"c": {"d": 1}}}}).encode()
    yield "runs.pickle", pickle.dumps(Runs())
    yield "runs_inside.pickle", pickle.dumps({"score": np.zeros(3), "x": Runs()})
    yield "cut.pickle", pickle.dumps({"score": np.zeros(3)})[:-9]
    yield "not.parquet", b"PAR1" + bytes(100) + b"PAR1"
    yield "cut.parquet", _parquet(pd.read_csv(io.StringIO(GOOD)))[:-40]
    yield "objects.parquet", _parquet(pd.DataFrame({"video": ["a", "b"], "score": ["x", "y"], "label": [0, 1]}))
    yield "lists.parquet", _parquet(pd.DataFrame({"video": ["a", "b"], "score": [[1.0], [2.0]], "label": [0, 1]}))
