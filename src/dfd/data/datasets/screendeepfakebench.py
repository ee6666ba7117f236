"""ScreenDeepfakeBench (Zhang et al., RAID 2026): faces of Celeb-DF v2 filmed off a screen, read as they are.

`data/benchmark_inputs/<configuration>/<real|fake>/<video>/*.jpg`, five frames a video; a configuration is
`<kind>__<camera>__<screen>__<conditions>` ([read] in its documentation). All test. The same videos return in every
configuration, so a person is the group, and reports break down by camera and screen.
"""

from collections.abc import Iterator
from pathlib import Path

from dfd.core.records import FAKE, REAL, Record
from dfd.data.datasets.layout import existing, some

TITLE = "ScreenDeepfakeBench"
GET_IT = "fetch CoC_Dataset_zenodo.zip from zenodo.org/records/23149435 (no form): dfd-fetch screendeepfakebench"
INPUTS = "data/benchmark_inputs"


def index(root: Path, kind: str | None = None) -> Iterator[Record]:
    """Yield a record per video and configuration; `kind` (controlled, multifactor) chooses by a configuration's start.

    The network's answer is averaged over 103 configurations in the paper: the report's table per method gives them.
    """
    root = existing(Path(root), TITLE, f"{GET_IT}, then give its folder as data.root=")
    inputs = existing(root / INPUTS, TITLE, GET_IT)
    records = []
    for configuration in sorted(path for path in inputs.iterdir() if path.is_dir()):
        what, camera, screen, *_ = [*configuration.name.split("__"), "", ""]
        if kind is not None and not what.startswith(kind):
            continue
        for name, label in (("real", REAL), ("fake", FAKE)):
            for video in sorted(path for path in (configuration / name).glob("*") if path.is_dir()):
                person = video.name.split("_")[0] if video.name.startswith("id") else f"youtube{video.name}"
                records.append(
                    Record(
                        video.relative_to(inputs).as_posix(),
                        "screendeepfakebench",
                        "test",
                        label,
                        str(video),
                        person,
                        "Celeb-synthesis" if label else "real",
                        assets={"crops": video.relative_to(root).as_posix()},
                        attributes={"configuration": configuration.name, "camera": camera, "screen": screen},
                    )
                )
    yield from some(records, TITLE, root, GET_IT)
