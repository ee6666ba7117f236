"""Banks of triangular filters over the bins of a spectrum: on the mel scale of HTK, or of equal width."""

import numpy as np


def htk_bank(bands: int, window: int, rate: int, lowest: float, highest: float) -> np.ndarray:
    """Return triangles of height 1 on HTK's mel scale, (bands, window // 2 + 1), as torchaudio's defaults are."""
    mels = np.linspace(_mel(lowest), _mel(highest), bands + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    return _triangles(edges, np.linspace(0, rate / 2, window // 2 + 1))


def linear_bank(bands: int, window: int) -> np.ndarray:
    """Return triangles of equal width over all frequencies, (bands, window // 2 + 1)."""
    bins = window // 2 + 1
    return _triangles(np.linspace(0, bins - 1, bands + 2), np.arange(bins))


def _mel(hertz: float) -> float:
    return 2595 * float(np.log10(1 + hertz / 700))


def _triangles(edges: np.ndarray, bins: np.ndarray) -> np.ndarray:
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
