"""The peak of a process is its own."""

import importlib
import math
import subprocess
import sys

import numpy as np

from dfd.core import memory
from dfd.core.memory import peak_bytes


def test_the_peak_is_this_process_alone():
    before = peak_bytes()
    held = np.ones(300 * 2**20, np.uint8)
    assert peak_bytes() > held.nbytes
    assert peak_bytes() >= before
    child = subprocess.run(
        [sys.executable, "-c", "from dfd.core.memory import peak_bytes; print(peak_bytes())"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(child.stdout) < 200 * 2**20


def test_a_system_that_does_not_say_gives_no_number(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    importlib.reload(memory)
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    assert math.isnan(memory.peak_bytes())
