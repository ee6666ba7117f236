from fractions import Fraction

import av
import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.data.audio import RATE, Sound, read_sound, read_talk, steady
from dfd.data.headers import BadVideo

CLICKS = (0.2, 0.52, 0.96, 1.4, 1.56)


def clicks(rate=RATE, seconds=2.0, late=0.0):
    """A track of short bursts, each half a period of 1 kHz long enough to survive any codec."""
    t = np.arange(round(seconds * rate)) / rate
    return sum(
        0.7 * np.sin(2 * np.pi * 1000 * (t - c)) * np.exp(-0.5 * ((t - c - 0.004) / 0.001) ** 2)
        for c in np.array(CLICKS) + late
    ).astype(np.float32)


def write(path, wave=None, *, codecs=("libx264", "aac"), rate=RATE, layout="mono", kind="fltp", fps=25, frames=50,
          audio_start=0.0, video_start=0.0, stamps=None, tracks=1, pix_fmt="yuv420p"):  # fmt: skip
    with av.open(str(path), "w") as container:
        pictures = container.add_stream(codecs[0], rate=Fraction(fps).limit_denominator(1001))
        pictures.width = pictures.height = 64
        pictures.pix_fmt = pix_fmt
        pictures.codec_context.time_base = (
            Fraction(1, 1000) if stamps is not None else 1 / Fraction(fps).limit_denominator(1001)
        )
        sounds = [
            container.add_stream(codecs[1], rate=rate, layout=layout) for _ in range(tracks if wave is not None else 0)
        ]
        for number in range(frames):
            image = np.full((64, 64, 3), number * 4 % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base = pictures.codec_context.time_base
            t = stamps[number] if stamps is not None else number / fps
            frame.pts = round((t + video_start) / frame.time_base)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode())
        for stream in sounds:
            for first in range(0, wave.shape[-1], 1024):
                part = np.atleast_2d(wave)[:, first : first + 1024]
                channels = len(av.AudioLayout(layout).channels)
                part = np.repeat(part, channels, 0) if len(part) == 1 else part
                data = {"flt": part.T.reshape(1, -1), "fltp": part, "u8": np.round(part * 127 + 128).T.reshape(1, -1)}[
                    kind
                ]
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(data, {"u8": np.uint8}.get(kind, np.float32)), kind, layout
                )
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = first + round(audio_start * rate)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return path


def lag(found, wanted):
    size = 2 ** int(np.ceil(np.log2(len(found) + len(wanted))))
    correlation = np.fft.irfft(np.fft.rfft(found, size) * np.conj(np.fft.rfft(wanted, size)))
    best = int(correlation.argmax())
    return best if best < size // 2 else best - size


CONTAINERS = [
    ("mp4", ("libx264", "aac"), RATE, "fltp"),
    ("webm", ("libvpx-vp9", "libopus"), 48_000, "flt"),
    ("mkv", ("ffv1", "pcm_f32le"), 44_100, "flt"),
    ("avi", ("mpeg4", "libmp3lame"), 44_100, "fltp"),
    ("mov", ("libx264", "pcm_u8"), 8_000, "u8"),
]


@pytest.mark.parametrize(("suffix", "codecs", "rate", "kind"), CONTAINERS)
def test_a_click_is_heard_when_it_was_made(tmp_path, suffix, codecs, rate, kind):
    # AVI cannot say that a track begins before the pictures, so what an encoder puts first gets a place of its own
    start = 1105 / 44_100 if suffix == "avi" else 0.0
    path = write(tmp_path / f"a.{suffix}", clicks(rate), codecs=codecs, rate=rate, kind=kind, audio_start=start)
    sound = read_sound(path)
    assert lag(sound.samples, clicks()) == round(start * RATE)
    talk = read_talk(path)
    assert np.array_equal(talk.sound.samples, sound.samples)
    assert len(talk.frames) == 50
    brightness = talk.frames.mean((1, 2, 3))
    assert np.corrcoef(brightness, np.arange(50))[0, 1] > 0.99


@pytest.mark.parametrize("layout", ["stereo", "5.1"])
def test_channels_are_mixed_to_one(tmp_path, layout):
    path = write(
        tmp_path / "a.mkv", clicks(48_000), codecs=("ffv1", "pcm_f32le"), rate=48_000, layout=layout, kind="flt"
    )
    sound = read_sound(path)
    assert sound.samples.ndim == 1
    assert lag(sound.samples, clicks()) == 0
    assert np.abs(sound.samples).max() > 0.3


@pytest.mark.parametrize(("audio", "video"), [(0.5, 0.0), (0.0, 0.4), (0.32, 0.32)])
def test_a_late_stream_keeps_its_time(tmp_path, audio, video):
    path = write(
        tmp_path / "a.mkv", clicks(), codecs=("ffv1", "pcm_f32le"), kind="flt", audio_start=audio, video_start=video
    )
    sound = read_sound(path)
    assert abs(lag(sound.samples, clicks()) - round((audio - video) * RATE)) <= 16  # a stamp of Matroska is 1 ms
    assert sound.heard[0] == pytest.approx(max(0.0, audio - video), abs=2e-3)


def test_a_track_that_begins_five_seconds_late_begins_with_silence(tmp_path):
    path = write(tmp_path / "a.mp4", clicks(), audio_start=5.0, frames=200)
    sound = read_sound(path)
    assert not sound.samples[: 4 * RATE].any()
    assert lag(sound.samples, clicks()) == pytest.approx(5 * RATE, abs=16)


def test_a_hole_in_the_track_does_not_move_what_follows(tmp_path):
    path, wave = tmp_path / "a.mkv", clicks()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=RATE, layout="mono")
        for first in range(0, len(wave), 1000):
            if 8000 <= first < 12_000:
                continue
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[None, first : first + 1000]), "flt", "mono")
            frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), first
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    sound = read_sound(path)
    expected = wave.copy()
    expected[8000:12_000] = 0
    assert np.corrcoef(sound.samples[: len(expected)], expected[: len(sound.samples)])[0, 1] > 0.98


def test_damaged_packets_cost_no_more_than_themselves(tmp_path):
    path = write(tmp_path / "a.mkv", clicks(48_000), codecs=("ffv1", "libopus"), rate=48_000, kind="flt")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = bytes(300)
    path.write_bytes(data)
    assert abs(lag(read_sound(path).samples, clicks())) <= 16


def test_one_of_several_tracks(tmp_path):
    path = write(tmp_path / "a.mkv", clicks(), codecs=("ffv1", "pcm_f32le"), kind="flt", tracks=2)
    assert lag(read_sound(path, track=1).samples, clicks()) == 0
    with pytest.raises(DfdError, match="2 audio track"):
        read_sound(path, track=2)


@pytest.mark.parametrize(("suffix", "codec"), [("wav", "pcm_s16le"), ("flac", "flac")])
def test_a_file_of_sound_alone(tmp_path, suffix, codec):
    path, wave = tmp_path / f"a.{suffix}", clicks(24_000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.round(32_767 * wave[None]).astype(np.int16), "s16", "mono")
        frame.sample_rate, frame.time_base, frame.pts = 24_000, Fraction(1, 24_000), 0
        for packet in (*stream.encode(frame), *stream.encode()):
            container.mux(packet)
    assert lag(read_sound(path).samples, clicks()) == 0


def test_silence_and_no_track_are_told_apart(tmp_path):
    silent = write(tmp_path / "silent.mp4", np.zeros(RATE, np.float32))
    assert read_sound(silent).silent
    with pytest.raises(BadVideo, match="no audio track") as error:
        read_sound(write(tmp_path / "mute.mp4"))
    assert error.value.reason == "no_audio"
    with pytest.raises(BadVideo):
        read_sound(tmp_path / "absent.mp4")


def test_sound_and_pictures_of_other_lengths(tmp_path):
    longer = read_talk(write(tmp_path / "a.mp4", clicks(), frames=3))
    assert len(longer.frames) == 3
    assert longer.sound.seconds == pytest.approx(2, abs=0.1)


def test_samples_beyond_the_track_are_silence():
    sound = Sound(np.arange(1, 5, dtype=np.float32), (0, 4 / RATE))
    assert sound.between(-2, 6).tolist() == [0, 0, 1, 2, 3, 4, 0, 0]
    assert sound.between(-4, -1).tolist() == [0, 0, 0]
    assert sound.between(5, 7).tolist() == [0, 0]
    assert sound.between(1, 3).tolist() == [2, 3]


@pytest.mark.parametrize("fps", [25, 30_000 / 1001, 30, 24, 15, 50])
def test_steady_ticks_take_the_nearest_frame(fps):
    times = np.arange(90) / fps + 3.0
    order = steady(times)
    ticks = np.arange(len(order)) / 25
    assert np.abs(times[order] - 3.0 - ticks).max() <= 0.5 / fps + 1e-3
    assert len(order) == pytest.approx(90 / fps * 25, abs=1)
    if fps == 25:
        assert order.tolist() == list(range(90))


def test_frames_at_a_changing_rate_are_shown_on_time(tmp_path):
    random = np.random.default_rng(0)
    stamps = np.round(np.cumsum(np.concatenate([[0], random.uniform(0.02, 0.08, 59)])), 3)
    path = write(
        tmp_path / "a.mkv", clicks(), codecs=("ffv1", "pcm_f32le"), kind="flt", stamps=stamps, frames=60, pix_fmt="bgr0"
    )
    talk = read_talk(path)
    shown = talk.frames.mean((1, 2, 3)) / 4
    ticks = np.arange(len(talk.frames)) / 25
    nearest = np.abs(stamps[None] - ticks[:, None]).min(1)
    assert np.allclose(np.abs(stamps[np.round(shown).astype(int)] - ticks), nearest, atol=2e-3)
