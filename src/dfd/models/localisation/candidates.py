"""From what a localiser answers at its points to candidates in seconds, which decoding turns into proposals."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dfd.core.records import STREAMS
from dfd.core.tensors import Localised
from dfd.models.base import Localiser

BELIEVED = 0.5  # from which probability on a stream counts as forged


class Found(NamedTuple):
    """Candidates as arrays of one length: the row of the batch, seconds, position of the stream in `STREAMS`, score."""

    row: np.ndarray
    start: np.ndarray
    end: np.ndarray
    stream: np.ndarray
    score: np.ndarray


@torch.no_grad()
def candidates(network: Localiser, output: Localised, begin: Tensor, min_score: float, stream: str = "both") -> Found:
    """Return every point that scores above `min_score` as a stretch of time.

    Args:
        network: whose points they are.
        output: what it answered.
        begin: the second at which each row begins, (N,).
        min_score: at most so much is no candidate.
        stream: of candidates whose network does not tell streams apart.
    """
    score = output.logits.float().sigmoid().amax(2)
    if output.quality is not None:
        score = (score * output.quality.float().sigmoid()).sqrt()
    row, point = torch.nonzero(output.valid & (score > min_score), as_tuple=True)
    place, stride = network.points()[point].unbind(1)
    offsets = output.offsets.float()[row, point] * stride[:, None]
    times = torch.stack([place - offsets[:, 0], place + offsets[:, 1]], 1) / network.input.rate
    chosen = _streams(output, row, point, STREAMS.index(stream))
    kept = times[:, 1] > times[:, 0]
    columns = (row, times[:, 0], times[:, 1], chosen, score[row, point])
    row, start, end, chosen, score = (column[kept].cpu() for column in columns)
    shift = begin.cpu().double()[row]
    return Found(
        row.numpy(), (start + shift).clamp(min=0).numpy(), (end + shift).numpy(), chosen.numpy(), score.numpy()
    )


def _streams(output: Localised, row: Tensor, point: Tensor, default: int) -> Tensor:
    if output.streams is None:
        return torch.full_like(row, default)
    forged = output.streams.float()[row, point].sigmoid() >= BELIEVED
    alone = [STREAMS.index("video"), STREAMS.index("audio")]
    chosen = torch.where(forged[:, 0], alone[0], alone[1])
    return torch.where(forged[:, 0] == forged[:, 1], STREAMS.index("both"), chosen)
