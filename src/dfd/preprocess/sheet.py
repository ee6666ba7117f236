"""A look at what was cut: boxes on frames beside the crops, one video each, the least certain faces first."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, select_autoescape

from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.records import Failure, Record
from dfd.data.crops import CROP_BOX, FACE_BOX
from dfd.data.kinds import is_image
from dfd.data.readers import Reader, open_crops
from dfd.data.video import open_video, read_image

TILE, TEXT = 128, 28
WIDE = TILE * 16 // 9
MOST = 2000  # videos that are searched for the least certain faces
SHOWN = 30
GREEN, YELLOW = (60, 220, 90), (250, 210, 60)


def write_page(manifest: Manifest, failures: Sequence[Failure], name: str, folder: Path) -> Path:
    """Write `contact_sheet.png` and a page around it, beside the manifest (or in `folder`); return the page."""
    place = manifest.folder if (manifest.folder / "manifest.parquet").is_file() else folder
    place.mkdir(parents=True, exist_ok=True)
    shown = contact_sheet(manifest, place / "contact_sheet.png")
    environment = Environment(loader=PackageLoader("dfd.preprocess", "."), autoescape=select_autoescape())
    counts = Counter((r.method, r.split) for r in manifest.records)
    text = environment.get_template("sheet.html.j2").render(
        name=name,
        total=len(manifest.records),
        shown=shown,
        without=_without_faces(place / "videos.parquet"),
        counts=sorted(counts.items()),
        reasons=Counter(failure.reason for failure in failures).most_common(),
        failures=failures[:200],
        hidden=max(0, len(failures) - 200),
    )
    part = place / "index.html.part"
    part.write_text(text, encoding="utf-8")
    part.replace(place / "index.html")
    return place / "index.html"


def contact_sheet(manifest: Manifest, path: Path, columns: int = 3) -> int:
    """Write a PNG of the videos whose faces the detector was least certain of; return how many it shows."""
    step = max(1, len(manifest.records) // MOST)
    worst = sorted((*_least_certain(manifest.folder, r), place) for place, r in enumerate(manifest.records[::step]))
    tiles = [_tile(manifest.folder, manifest.records[place * step], row) for _, row, place in worst[:SHOWN]]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    lines = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(lines), cv2.COLOR_RGB2BGR))
    return min(SHOWN, len(worst))


def _without_faces(table: Path) -> list[dict]:
    """Return the videos with most kept frames on which no face of the main person is, from the table of videos."""
    if not table.is_file():
        return []
    videos = pd.read_parquet(table)
    if "no_face" not in videos:
        return []
    worst = videos[videos["no_face"] > 0].sort_values("no_face", ascending=False, kind="stable")
    return worst.head(SHOWN)[["video", "no_face", "interpolated"]].to_dict("records")


def _least_certain(folder: Path, record: Record) -> tuple[float, int]:
    with open_crops(folder, record.assets) as crops:
        confidence = np.where(crops.table["valid"], crops.table["confidence"], np.inf)
        return float(confidence.min()), int(confidence.argmin())


def _tile(folder: Path, record: Record, row: int) -> np.ndarray:
    with open_crops(folder, record.assets) as crops:
        face = cv2.resize(crops.read([row])[0], (TILE, TILE), interpolation=cv2.INTER_AREA)
        confidence = crops.table["confidence"][row]
        frame = _frame(record, crops, row)
        how = "" if crops.table["detected"][row] else " interpolated"
    label = np.full((TEXT, WIDE + TILE, 3), 255, np.uint8)
    for line, text in enumerate((f"{record.id[-44:]}", f"{confidence:.3f}{how}  {record.method} {record.split}")):
        cv2.putText(label, text, (2, 11 + 13 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([np.hstack([frame, face]), label])


def _frame(record: Record, crops: Reader, row: int) -> np.ndarray:
    """Return the frame that a crop is from, shrunk into its place, with the face's box and the crop's."""
    canvas = np.full((TILE, WIDE, 3), 235, np.uint8)
    image = _picture(Path(record.path), int(crops.table["frame"][row]))
    if image is None:
        return canvas
    scale = min(WIDE / image.shape[1], TILE / image.shape[0])
    size = (max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    for names, colour in ((CROP_BOX, YELLOW), (FACE_BOX, GREEN)):
        x0, y0, x1, y1 = (round(float(crops.table[name][row]) * scale) for name in names)
        cv2.rectangle(small, (x0, y0), (x1, y1), colour, 1)
    left = (WIDE - size[0]) // 2
    canvas[: size[1], left : left + size[0]] = small
    return canvas


def _picture(path: Path, frame: int) -> np.ndarray | None:
    """Return a frame of a file that is still there; a sheet can do without it."""
    if not path.is_file():
        return None
    try:
        if is_image(path):
            return read_image(path)
        with open_video(path) as video:
            picture = next(video.pictures([frame]), None)
            return None if picture is None else picture.rgb()
    except DfdError:
        return None
