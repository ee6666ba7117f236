"""The MTCNN cascade (Zhang et al. 2016), batched: over images in its first network, over all their faces in the rest.

The weights of the three networks are those of facenet-pytorch. Its own loop resamples every candidate by itself on
the full image; here images of one size share each level of the pyramid, and the candidates of all images share the
other two networks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from dfd.preprocess import mtcnn_networks

THRESHOLDS = (0.6, 0.7, 0.7)
WINDOW, STRIDE, SHRINK = 12, 2, 0.709  # of the first network, and between the levels of the pyramid
AT_ONCE = 512  # candidates in one batch


class Found(NamedTuple):
    """Faces of a batch: image (F,), box (F, 4), confidence (F,), landmarks (F, 5, 2)."""

    image: np.ndarray
    box: np.ndarray
    confidence: np.ndarray
    landmarks: np.ndarray


class Cascade:
    """Three networks, each looking closer at what the one before it proposed."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.proposal, self.refinement, self.output = (
            network().to(self.device)
            for network in (mtcnn_networks.proposal, mtcnn_networks.refinement, mtcnn_networks.output)
        )

    @torch.inference_mode()
    def __call__(self, images: Sequence[np.ndarray], smallest: float) -> Found:
        """Find the faces of RGB uint8 images, of one size or of several, that are at least `smallest` pixels wide."""
        image, boxes = self._propose(images, smallest)
        image, boxes, _ = self._refine(images, image, boxes)
        return self.look(images, image, boxes)

    @torch.inference_mode()
    def look(self, images: Sequence[np.ndarray], image: np.ndarray, boxes: np.ndarray) -> Found:
        """Judge given square boxes (F, 4) with the last network alone: confidence, exact box and landmarks."""
        if not len(boxes):
            return Found(image, np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2)))
        change, points, score = self._run(self.output, images, image, boxes, 48)
        kept = score > THRESHOLDS[2]
        image, boxes, change, score = image[kept], boxes[kept], change[kept], score[kept]
        sides = (boxes[:, 2:] - boxes[:, :2] + 1)[:, None]
        landmarks = boxes[:, None, :2] + points[kept].reshape(-1, 2, 5).transpose(0, 2, 1) * sides - 1
        boxes = _shifted(boxes, change)
        order = _best_of_overlapping(image, boxes, score)
        return Found(image[order], boxes[order], score[order], landmarks[order])

    def _propose(self, images: Sequence[np.ndarray], smallest: float) -> tuple[np.ndarray, np.ndarray]:
        sizes: dict[tuple[int, ...], list[int]] = {}
        for position, image in enumerate(images):
            sizes.setdefault(image.shape[:2], []).append(position)
        found = [
            self._level([images[i] for i in members], np.array(members), scale)
            for (height, width), members in sizes.items()
            for scale in pyramid(min(height, width), smallest)
        ]
        if not found:
            return np.zeros(0, int), np.zeros((0, 4))
        image, boxes, score, change = (np.concatenate(parts) for parts in zip(*found, strict=True))
        level = np.concatenate([np.full(len(part[0]), number) for number, part in enumerate(found)])
        kept = nms(boxes, score, image * len(found) + level, 0.5)
        kept = kept[nms(boxes[kept], score[kept], image[kept], 0.7)]
        sides = np.tile(boxes[kept, 2:] - boxes[kept, :2], 2)
        return image[kept], _square(boxes[kept] + change[kept] * sides)

    def _level(self, images: list[np.ndarray], members: np.ndarray, scale: float) -> tuple[np.ndarray, ...]:
        """Slide the first network's window over one level of the pyramid."""
        height, width = images[0].shape[:2]
        size = (int(width * scale + 1), int(height * scale + 1))
        stack = np.stack([cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images])
        change, chance = self.proposal(self._tensor(stack))
        which, row, column = (chance[:, 1] >= THRESHOLDS[0]).nonzero(as_tuple=True)
        score, change = chance[which, 1, row, column].cpu().numpy(), change[which, :, row, column].cpu().numpy()
        corner = STRIDE * torch.stack([column, row], 1).cpu().numpy()
        boxes = np.floor(np.concatenate([corner + 1, corner + WINDOW], 1) / scale)
        return members[which.cpu().numpy()], boxes, score, change

    def _refine(
        self, images: Sequence[np.ndarray], image: np.ndarray, boxes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if not len(boxes):
            return image, boxes, np.zeros(0)
        change, score = self._run(self.refinement, images, image, boxes, 24)
        kept = np.flatnonzero(score > THRESHOLDS[1])
        kept = kept[nms(boxes[kept], score[kept], image[kept], 0.7)]
        return image[kept], _square(_shifted(boxes[kept], change[kept])), score[kept]

    def _run(
        self, network: nn.Module, images: Sequence[np.ndarray], image: np.ndarray, boxes: np.ndarray, size: int
    ) -> list[np.ndarray]:
        """Show a network every box, resampled to `size`; its outputs, and of the last one the chance of a face."""
        patches = np.stack([_patch(images[i], box, size) for i, box in zip(image, boxes, strict=True)])
        patches = np.pad(patches, ((0, _rounded(len(boxes)) - len(boxes)), (0, 0), (0, 0), (0, 0)))
        batches = [network(self._tensor(patches[start : start + AT_ONCE])) for start in range(0, len(boxes), AT_ONCE)]
        *outputs, chance = (torch.cat(part)[: len(boxes)].cpu().double().numpy() for part in zip(*batches, strict=True))
        return [*outputs, chance[:, 1]]

    def _tensor(self, stack: np.ndarray) -> Tensor:
        return torch.from_numpy(stack).to(self.device).permute(0, 3, 1, 2).float().sub_(127.5).mul_(1 / 128)


def pyramid(short_side: int, smallest: float) -> list[float]:
    """Return the scales at which a window of 12 pixels covers faces from `smallest` pixels to the whole image."""
    first = WINDOW / smallest
    levels = int(np.floor(np.log(WINDOW / (short_side * first)) / np.log(SHRINK))) + 1 if short_side >= smallest else 0
    return [first * SHRINK**level for level in range(levels)]


def _rounded(count: int) -> int:
    """Return a little more than a count: libraries keep memory for every size of batch that they have seen."""
    step = max(4, 2 ** (count.bit_length() - 3))
    return -(-count // step) * step


def _patch(image: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """Cut what of a box lies inside the image and stretch it to a square, as the networks were trained."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box.astype(int)
    x0, y0 = min(max(x0 - 1, 0), width - 1), min(max(y0 - 1, 0), height - 1)
    part = image[y0 : max(y0 + 1, y1), x0 : max(x0 + 1, x1)]
    # many candidates are only to be refused: for them the quick way is good enough
    return cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR if size == 24 else cv2.INTER_AREA)


def _square(boxes: np.ndarray) -> np.ndarray:
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], 1)


def _shifted(boxes: np.ndarray, change: np.ndarray) -> np.ndarray:
    return boxes + change * np.tile(boxes[:, 2:] - boxes[:, :2] + 1, 2)


def nms(boxes: np.ndarray, score: np.ndarray, group: np.ndarray, overlap: float) -> np.ndarray:
    """Return which boxes stay, best first: within a group none overlaps a better one by more than `overlap`."""
    order = np.argsort(-score.astype(np.float32), kind="stable")
    kept = []
    for name in np.unique(group):
        members = order[group[order] == name]
        covers, stays = _overlaps(boxes[members].astype(np.float32)) > overlap, np.ones(len(members), bool)
        for place in range(len(members)):
            if stays[place]:
                stays[place + 1 :] &= ~covers[place, place + 1 :]
        kept.append(members[stays])
    chosen = np.concatenate(kept) if kept else np.zeros(0, np.int64)
    return chosen[np.argsort(-score[chosen].astype(np.float32), kind="stable")]


def _overlaps(boxes: np.ndarray) -> np.ndarray:
    """Return the intersection over union of every two boxes (N, 4)."""
    low, high = boxes[:, :2], boxes[:, 2:4]
    sides = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
    shared = sides[..., 0].clip(0) * sides[..., 1].clip(0)
    areas = (high - low).prod(1)
    return shared / np.maximum(areas[:, None] + areas[None] - shared, 1e-12)


def _best_of_overlapping(image: np.ndarray, boxes: np.ndarray, score: np.ndarray, overlap: float = 0.7) -> np.ndarray:
    """Drop a face of which more than `overlap` of the smaller box is shared with a better one; best first per image."""
    kept: list[int] = []
    for face in np.argsort(-score, kind="stable"):
        rivals = [k for k in kept if image[k] == image[face]]
        sides = np.minimum(boxes[rivals, 2:], boxes[face, 2:]) - np.maximum(boxes[rivals, :2], boxes[face, :2])
        areas = np.minimum(_area(boxes[rivals]), _area(boxes[face][None]))
        if not rivals or (np.clip(sides, 0, None).prod(1) <= overlap * areas).all():
            kept.append(int(face))
    return np.array(kept, int)


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)
