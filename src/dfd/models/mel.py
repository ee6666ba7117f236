"""Log-mel spectrograms from `torch.stft` and a mel bank of our own, equal to librosa's defaults."""

import numpy as np
import torch
from torch import Tensor, nn

LINEAR = 1000.0  # Hz up to which Slaney's mel scale is linear
PER_MEL = 200.0 / 3  # Hz
STEP = np.log(6.4) / 27  # of the logarithm of Hz, per mel above


def hz_to_mel(hz: np.ndarray) -> np.ndarray:
    """Return mels on Slaney's scale: linear below 1 kHz, logarithmic above."""
    hz = np.asarray(hz, float)
    return np.where(hz < LINEAR, hz / PER_MEL, LINEAR / PER_MEL + np.log(np.maximum(hz, LINEAR) / LINEAR) / STEP)


def mel_to_hz(mel: np.ndarray) -> np.ndarray:
    """Return Hz of mels on Slaney's scale."""
    mel = np.asarray(mel, float)
    corner = LINEAR / PER_MEL
    return np.where(mel < corner, mel * PER_MEL, LINEAR * np.exp(STEP * (np.maximum(mel, corner) - corner)))


def mel_bank(rate: int, n_fft: int, mels: int, lowest: float = 0.0, highest: float | None = None) -> np.ndarray:
    """Return Slaney's triangles of equal area, (mels, n_fft // 2 + 1)."""
    highest = rate / 2 if highest is None else highest
    edges = mel_to_hz(np.linspace(hz_to_mel(np.array(lowest)), hz_to_mel(np.array(highest)), mels + 2))
    bins = np.linspace(0, rate / 2, n_fft // 2 + 1)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]


class LogMel(nn.Module):
    """Samples in [-1, 1] (..., S) to log magnitudes (..., mels, S // hop), each window padded by its own reflection."""

    window: Tensor
    bank: Tensor

    def __init__(
        self,
        rate: int = 16_000,
        n_fft: int = 512,
        hop: int = 160,
        win: int = 320,
        mels: int = 80,
        scale: float = 1.0,
        floor: float = 1e-5,
    ) -> None:
        super().__init__()
        self.n_fft, self.hop, self.win, self.scale, self.floor = n_fft, hop, win, scale, floor
        self.register_buffer("window", torch.hann_window(win), persistent=False)
        self.register_buffer("bank", torch.tensor(mel_bank(rate, n_fft, mels), dtype=torch.float32), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Return log(bank @ magnitude + floor) of the samples times `scale`."""
        flat = samples.reshape(-1, samples.shape[-1]) * self.scale
        spectrum = torch.stft(flat, self.n_fft, self.hop, self.win, self.window, return_complex=True).abs()
        mels = (self.bank @ spectrum[..., :-1] + self.floor).log()
        return mels.view(*samples.shape[:-1], *mels.shape[-2:])
