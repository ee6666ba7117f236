"""What a forgery changed: the difference between a fake's crops and its original's, or the dataset's own mask video.

The difference is 1 - SSIM (Wang et al. 2004) per pixel, clipped to [0, 1] and not wrapped round. A face of a fake whose
difference stays small on most frames was not swapped, as one of two actors in DFDC often is not.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dfd.core.records import FAKE, Record
from dfd.data.align import fit
from dfd.data.crops import CROP_BOX, CropReader, write_container
from dfd.data.video import BadVideo, open_video
from dfd.preprocess.asset_files import crop_path
from dfd.preprocess.crop import cut
from dfd.preprocess.stages import Task

log = logging.getLogger(__name__)

# A face was swapped where the most changed of its pixels, one in 200, differ by more than this on most frames. On the
# sample, encoding an original again at crf 38 reaches 0.5; the slightest forgery, a mouth alone, starts at 0.76.
SWAPPED, PEAK = 0.6, 99.5
WINDOW = 7


def difference(original: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """Return 255 x (1 - SSIM) of two RGB crops, clipped, as uint8 (H, W): the mean over colours, in a 7 x 7 window."""
    a, b = original.astype(np.float32), fake.astype(np.float32)
    samples = WINDOW**2 / (WINDOW**2 - 1)
    means = mean_a, mean_b = [cv2.blur(x, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT) for x in (a, b)]
    products = [cv2.blur(x, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT) for x in (a * a, b * b, a * b)]
    var_a, var_b, both = (
        samples * (p - m) for p, m in zip(products, (means[0] ** 2, means[1] ** 2, mean_a * mean_b), strict=True)
    )
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ssim = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return np.clip(255 * (1 - ssim.mean(2)), 0, 255).round().astype(np.uint8)


def has_source(record: Record, folder: Path) -> bool:
    """Whether a record is a fake with a mask video, or with an original that has crops."""
    return record.label == FAKE and (mask_video(record) is not None or _original(record, folder) is not None)


def warn_of_untouched(finished: Sequence[tuple[Record, Path]]) -> None:
    """Warn of fakes whose masks show no face that was swapped."""
    untouched = []
    for record, path in finished:
        with CropReader(path) as masks:
            untouched += [] if masks.facts["swapped"] else [record.id]
    if untouched:
        log.warning(
            "%d of %d fakes have no face that was swapped, e.g. %s: repair=relabel calls them real, repair=drop "
            "trusts their label",
            len(untouched),
            len(finished),
            untouched[0],
        )


def _original(record: Record, folder: Path) -> Path | None:
    """Return the crops of the record's original, if there are any."""
    path = None if record.original is None else crop_path(folder, replace(record, id=record.original))
    return path if path is not None and path.is_file() else None


def mask_video(record: Record) -> Path | None:
    """Return the video of masks that FaceForensics++ keeps beside a fake, if there is one."""
    path = Path(record.path)
    if len(path.parents) < 3:
        return None
    masks = path.parents[2] / "masks" / "videos" / path.name
    return masks if masks.is_file() else None


def write_masks(task: Task) -> None:
    """Write the masks of a fake, from its mask video or against its original."""
    video = mask_video(task.record)
    with CropReader(task.asset("crops")) as fake:
        table = {name: column.copy() for name, column in fake.table.items()}
        original = _original(task.record, task.folder)
        masks = dict(_from_video(video, fake) if video else _from_pair(fake, original))  # type: ignore[arg-type]
    table["valid"] = np.isin(np.arange(len(table["frame"])), list(masks))
    facts: dict[str, Any] = {"kind": "video" if video else "ssim"}
    facts["swapped"] = [int(track) for track in np.unique(table["track"]) if swapped(masks, table["track"] == track)]
    write_container(task.target, table, masks.items(), facts=facts)


def swapped(masks: dict[int, np.ndarray], of_track: np.ndarray) -> bool:
    """Whether most masks of a face show a change; with no mask at all nothing speaks against the label."""
    peaks = [np.percentile(mask, PEAK) for row, mask in masks.items() if of_track[row]]
    return not peaks or float(np.median(peaks)) > 255 * SWAPPED


def _from_pair(fake: CropReader, original: Path) -> Iterator[tuple[int, np.ndarray]]:
    if fake.facts.get("found_anew"):
        raise BadVideo(f"{fake.path} shows not the same pixels as its original, which has another shape", "other_shape")
    with CropReader(original) as source:
        place = {key: row for row, key in enumerate(_keys(source)) if source.table["valid"][row]}
        for row, key in enumerate(_keys(fake)):
            if fake.table["valid"][row] and key in place:
                (a,), (b,) = source.read([place[key]]), fake.read([row])
                yield row, difference(fit(a, b.shape[0]), b)  # a fake of another size has crops of another size


def _from_video(path: Path, fake: CropReader) -> Iterator[tuple[int, np.ndarray]]:
    boxes = np.stack([fake.table[name] for name in CROP_BOX], 1)
    rows: dict[int, list[int]] = {}
    for row in np.flatnonzero(fake.table["valid"]).tolist():
        rows.setdefault(int(fake.table["frame"][row]), []).append(row)
    with open_video(path) as video:
        for picture in video.pictures(list(rows)):
            for row in rows[picture.index]:
                (crop,) = fake.read([row])
                mask = cv2.cvtColor(cut(picture, boxes[row], max(crop.shape[:2])), cv2.COLOR_RGB2GRAY)
                yield row, cv2.resize(mask, crop.shape[1::-1], interpolation=cv2.INTER_NEAREST)


def _keys(crops: CropReader) -> list[tuple[int, int]]:
    return list(zip(crops.table["frame"].tolist(), crops.table["track"].tolist(), strict=True))
