"""A video is restored at its size and times, with its sound as it was; tiles show no seams."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from dfd.core.errors import DfdError
from dfd.data.degrade import blurred, degrade, disc, draw, h264, motion_kernel, sharpness
from dfd.data.video import open_video
from dfd.inference.restoring import Restoring, wanted
from dfd.models.unet import RestorationUnet
from tests.conftest import draw_head


def network(seed: int = 0) -> RestorationUnet:
    torch.manual_seed(seed)
    made = RestorationUnet((4, 8), 8, size=32).eval()
    torch.nn.init.normal_(made.final_conv.weight, std=0.05)
    return made


@pytest.fixture
def talking(tmp_path):
    """Frames at uneven times, and a tone."""
    path = tmp_path / "talking.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=30)
        video.width, video.height, video.pix_fmt = 98, 66, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 30000)
        sound = container.add_stream("aac", rate=16000)
        for number, pts in enumerate((0, 1001, 2002, 4004, 5005, 9009)):
            frame = av.VideoFrame.from_ndarray(np.full((66, 98, 3), 30 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, 30000)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        tone = np.sin(np.arange(8192) / 5).astype(np.float32)[None]
        for start in range(0, 8192, 1024):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone[:, start : start + 1024]), "fltp", "mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    return path


def packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_times_size_and_sound_stay(talking, tmp_path):
    done = Restoring(network(), "cpu").video(talking, tmp_path / "restored.mp4")
    with open_video(talking) as before, open_video(tmp_path / "restored.mp4") as after:
        assert (after.info.width, after.info.height) == (98, 66)
        assert after.times == pytest.approx(before.times, abs=1e-3)
    assert packets(tmp_path / "restored.mp4") == packets(talking)
    assert done.frames == 6
    assert done.sound
    assert done.flicker > 0


def test_tiles_are_as_the_whole():
    picture = draw_head()[None, :150, :170]
    whole, tiled = Restoring(network(), "cpu", tile=None), Restoring(network(), "cpu", tile=64, overlap=48)
    assert np.abs(whole(picture).astype(int) - tiled(picture)).max() <= 1


def test_a_detector_is_no_restorer(tmp_path):
    from dfd.models.checkpoint import save_network
    from dfd.models.meso import MesoInception4

    save_network(tmp_path / "a.ckpt", MesoInception4(32), {"_target_": "dfd.models.meso.MesoInception4", "size": 32})
    with pytest.raises(DfdError, match="not a restorer"):
        Restoring.load(tmp_path / "a.ckpt")


def test_only_blurred_faces_are_restored_unasked():
    face = draw_head()[40:200, 80:240]
    soft = blurred(face, 5)
    assert sharpness([soft]) < sharpness([face])
    assert wanted("false", [soft]) == (False, None)
    assert wanted("true", [face])[0]
    assert wanted("auto", [soft])[0]
    assert not wanted("auto", [np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)])[0]


def test_degradations_are_drawn_from_their_seed_and_told():
    face = draw_head()
    for seed in range(8):
        once, again = (degrade(face, draw(r), r) for r in (np.random.default_rng(seed), np.random.default_rng(seed)))
        assert (once == again).all()
        assert once.shape == face.shape
        how = draw(np.random.default_rng(seed))
        assert how.kernel.sum() == pytest.approx(1)
        assert how.words()["kind"] == how.kind
    assert motion_kernel(9, 0)[5].sum() == pytest.approx(1, abs=0.02)
    assert disc(0.4).shape == (3, 3)
    assert h264(face[:65, :63], 30).shape == (65, 63, 3)
