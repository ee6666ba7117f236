import numpy as np
import pytest

from dfd.data.sample import voice
from dfd.data.sample.voice import CONTROL, OPPOSITES, PHONES, RATE, STEP, WORDS


def _random(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def spoken():
    speaker = voice.draw_voice(_random(3))
    return speaker, voice.speak(["mother", "good", "_", "memory", "water"], speaker, _random(4))


def test_every_word_is_made_of_known_sounds_and_opposites_are_words():
    assert all(sound in PHONES for word in WORDS.values() for sound in word.split())
    assert set(OPPOSITES) <= set(WORDS)
    assert all(OPPOSITES[OPPOSITES[word]] == word for word in OPPOSITES)


def test_the_same_seed_says_the_same():
    one, two = (voice.speak_for(2.0, voice.draw_voice(_random(1)), _random(2)) for _ in range(2))
    assert np.array_equal(one.wave, two.wave)
    assert one.words == two.words
    assert len(one.wave) == 2 * RATE
    assert len(one.opening) == 2 * CONTROL


def test_words_follow_each_other_and_cover_the_voice(spoken):
    _, speech = spoken
    assert [word.text for word in speech.words] == ["mother", "good", "memory", "water"]
    assert all(a.end <= b.start + 1e-9 for a, b in zip(speech.words, speech.words[1:]))
    said = slice(round(speech.words[0].start * RATE), round(speech.words[-1].end * RATE))
    assert np.abs(speech.wave[said]).mean() > 20 * np.abs(speech.wave[: said.start - 400]).mean()


def test_lips_are_closed_at_an_m_and_open_in_the_vowel_after_it(spoken):
    _, speech = spoken
    first = round(speech.words[0].start * CONTROL)
    assert speech.opening[first : first + 12].min() < 0.15
    assert speech.opening[first : first + 45].max() > 0.55


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_voice_has_its_pitch(seed):
    speaker = voice.draw_voice(_random(seed))
    wave = voice.speak(["father", "open", "mother"], speaker, _random(9)).wave
    frames = np.lib.stride_tricks.sliding_window_view(wave, 1024)[::512]
    loud = frames[np.square(frames).mean(1) > np.square(wave).mean()]
    spectrum = np.abs(np.fft.rfft(loud * np.hanning(1024), 4096)) ** 2
    correlation = np.fft.irfft(spectrum)[:, RATE // 400 : RATE // 60]
    pitch = RATE / (correlation.argmax(1) + RATE // 400)
    assert np.median(pitch) == pytest.approx(speaker.pitch, rel=0.2)


def test_another_word_takes_the_place_of_one_and_nothing_else_changes(spoken):
    speaker, speech = spoken
    changed = voice.reword(speech, 1, "bad", speaker, _random(5))
    first, last = round(speech.words[1].start * CONTROL), round(speech.words[1].end * CONTROL) + 1
    assert [word.text for word in changed.words] == ["mother", "bad", "memory", "water"]
    assert len(changed.wave) == len(speech.wave)
    for ours, theirs, step in ((changed.wave, speech.wave, STEP), (changed.opening, speech.opening, 1)):
        assert np.array_equal(ours[: first * step], theirs[: first * step])
        assert np.array_equal(ours[last * step :], theirs[last * step :])
        assert not np.allclose(ours[first * step : last * step], theirs[first * step : last * step])


def test_a_speech_that_is_too_short_ends_in_silence(spoken):
    _, speech = spoken
    longer = voice.trimmed(speech, 0.5, speech.seconds + 1)
    assert longer.seconds == pytest.approx(speech.seconds + 0.5, abs=0.01)
    assert not longer.wave[-RATE // 2 :].any()
    assert all(0 <= word.start < word.end for word in longer.words)
