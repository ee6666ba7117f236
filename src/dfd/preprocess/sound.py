"""The stage `audio`: the sound of every video beside its faces, on the clock of its pictures."""

import numpy as np

from dfd.data.audio import SILENCE, read_sound
from dfd.data.headers import BadVideo
from dfd.preprocess.stages import Task


def write_sound(task: Task) -> None:
    """Decode the sound of a file and write it as 16-bit samples; a file without any, or a silent one, is a failure."""
    sound = read_sound(task.media)
    if sound.silent:
        raise BadVideo(f"{task.media}: its sound is silent (below {20 * np.log10(SILENCE):.0f} dB)", "silent")
    np.save(task.target, np.round(sound.samples.clip(-1, 1) * 32767).astype(np.int16), allow_pickle=False)
