"""The published clip through our path and through a transcription of the published one, with the same weights."""

import wave
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from dfd.data.audio import read_sound, read_talk
from dfd.models.av_anomaly import AVAnomaly
from dfd.models.avsync import AVSync
from dfd.models.avsync_weights import load_distribution_model

FOUND = [folder / "shared/data/avad" for folder in Path(__file__).parents if (folder / "shared/data/avad").is_dir()]
pytestmark = pytest.mark.skipif(not FOUND, reason="the published clip is not here")
PUBLISHED = FOUND[0] if FOUND else Path()
FRAMES = 54  # of which the published code sees no more


def wav() -> np.ndarray:
    with wave.open(str(PUBLISHED / "test.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def transcribed_delays(network: AVSync) -> torch.Tensor:
    """What the published code does: pixels of 0 to 255, 16-bit samples, 15 frames of zeros around them."""
    with av.open(str(PUBLISHED / "test.mp4")) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    samples = wav()[: len(wav()) // 640 * 640]
    count = min(len(frames), len(samples) // 640, FRAMES)
    padded = np.pad(samples[: count * 640].astype(np.float32), 15 * 640)
    rows = []
    for i in range(count - 4):
        clip = torch.from_numpy(frames[i : i + 5].astype(np.float32)).permute(0, 3, 1, 2)
        maps = network.vis_enc.frames(clip).movedim(0, 1)[None]
        visual = network.transformer.visual_tokens(network.vis_enc.windows(maps))
        windows = np.stack([padded[(i + k) * 640 : (i + k + 5) * 640] for k in range(31)])
        audio = network.transformer.audio_tokens(network.aud_enc(mels(windows)[:, None]))
        rows.append(network.transformer(visual.expand(31, -1, -1), audio))
    return torch.stack(rows)


def mels(windows: np.ndarray) -> torch.Tensor:
    """Log-mel of windows whose samples are 16-bit integers already."""
    from dfd.models.mel import LogMel

    return LogMel(scale=1.0, floor=1e-20)(torch.from_numpy(windows))


def test_the_sound_of_the_clip_is_that_of_its_wav():
    ours, theirs = read_sound(PUBLISHED / "test.mp4").samples * 32768, wav()
    count = min(len(ours), len(theirs))
    assert abs(len(ours) - len(theirs)) <= 2048
    assert np.abs(ours[:count] - theirs[:count]).max() <= 2


@pytest.mark.slow
def test_the_clip_gives_the_same_delays_and_the_same_score():
    torch.manual_seed(0)
    network = AVSync("tiny", 224, published=True, token_layout="legacy").eval()
    detector = AVAnomaly(network, align_offset=False, quiet=None).eval()
    detector.distribution = load_distribution_model(PUBLISHED / "dist_regressive_model.pth")
    talk = read_talk(PUBLISHED / "test.mp4")
    pixels = torch.from_numpy(talk.frames[:FRAMES]).permute(0, 3, 1, 2)[None].float() / 255
    cut = type(talk.sound)(wav()[: FRAMES * 640] / np.float32(32768), (0.0, FRAMES / 25))
    sound = torch.from_numpy(cut.between(-30 * 640, (FRAMES + 30) * 640).astype(np.float32))[None]
    with torch.no_grad():
        judged, theirs = detector(pixels, sound), transcribed_delays(network)
        expected = detector.distribution(theirs[None])[0]
        target = theirs[1:].softmax(1)
        score = (target * (target.log() - expected)).sum(1).mean()
    assert judged.delays.shape == (1, 50, 31)
    assert torch.allclose(judged.delays[0], theirs.softmax(1), atol=1e-4)
    assert float(judged.logits[0, 0]) == pytest.approx(float(score), abs=1e-4)
