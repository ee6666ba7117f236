"""Limits hold whatever a file does to the process that decodes it, in any thread, and cost no other file."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.data.headers import BadVideo
from dfd.inference.sandbox import Limits, OverLimit, Sandbox
from tests.runs import outcome

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the limit")
LIMITS = Limits(seconds=2.0, memory=512 * 2**20)


class Seen(NamedTuple):
    pixels: np.ndarray
    reason: str = ""
    count: int = 0


def look(path: Path) -> list[Seen]:
    """Do what the name of the file says."""
    deed = path.name.partition("-")[0]
    if deed == "sleep":
        time.sleep(60)
    if deed == "spin":  # holds the interpreter's lock in C code
        sum(range(10**11))
    if deed == "eat":
        np.ones(2**30)
    if deed == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if deed == "refuse":
        raise BadVideo("not today", "too_large")
    if deed == "upset":
        raise RuntimeError("something\nbroke")
    if deed == "objects":
        return [Seen(np.array([object()]))]
    return [Seen(np.full((2, 3), len(path.name), np.uint8), path.name, 7), Seen(np.empty((0, 4)))]


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(look, Seen, workers=2, limits=LIMITS) as sandbox:
        yield sandbox


def test_answers_come_back_as_they_were(sandbox):
    first, second = sandbox(Path("good"))
    assert (first.pixels == 4).all()
    assert first.pixels.dtype == np.uint8
    assert first.pixels.flags.writeable
    assert (first.reason, first.count, second.pixels.shape) == ("good", 7, (0, 4))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sleep", "too_slow"),
        ("spin", "too_slow"),
        pytest.param("eat", "out_of_memory", marks=LINUX),
        ("die", "decoder_died"),
        ("refuse", "too_large"),
        ("upset", "unexpected"),
        ("objects", "decoder_died"),
    ],
)  # fmt: skip
def test_whatever_a_file_does_costs_that_file(sandbox, name, reason):
    with pytest.raises(OverLimit) as caught:
        sandbox(Path(name))
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)
    assert sandbox(Path("next"))[0].reason == "next"


def test_names_that_are_not_utf8_arrive(sandbox):
    name = os.fsdecode(b"caf\xe9")
    assert sandbox(Path(name))[0].reason == name


def test_order_is_kept_and_workers_run_ahead(sandbox):
    names = ["a", "die-1", "b", "refuse", "c", "sleep", "d", "e"]
    found = [(path, outcome(answers)) for path, answers in sandbox.in_order(map(Path, names))]
    assert [path.name for path, _ in found] == names
    assert [isinstance(each, OverLimit) for _, each in found] == [n[0] in "drs" and len(n) > 1 for n in names]


def test_limits_hold_in_threads(sandbox):
    reasons = []

    def ask() -> None:
        try:
            sandbox(Path("sleep"))
        except OverLimit as error:
            reasons.append(error.reason)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert reasons == ["too_slow"] * 2
    assert time.monotonic() - started < 50  # without a limit it is 60


def test_a_worker_does_not_outlive_a_main_process_that_is_killed(tmp_path):
    code = f"""
        import os, sys
        from pathlib import Path
        sys.path[:0] = {sys.path!r}
        from dfd.inference.sandbox import Limits, Sandbox
        from tests.inference.test_sandbox import Seen, look
        if __name__ == "__main__":
            sandbox = Sandbox(look, Seen, limits=Limits(60))
            sandbox(Path("good"))
            print(sandbox._all[0]._process.pid, flush=True)
            sandbox(Path("sleep"))
    """
    script = tmp_path / "main.py"
    script.write_text(textwrap.dedent(code))
    main = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert main.stdout is not None
    worker = int(main.stdout.readline())
    main.kill()
    main.wait()
    deadline = time.monotonic() + 30
    while _runs(worker):
        assert time.monotonic() < deadline, "the worker is an orphan"
        time.sleep(0.1)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_closed_sandbox_says_so():
    sandbox = Sandbox(look, Seen)
    sandbox.close()
    with pytest.raises(DfdError, match="closed"):
        sandbox(Path("good"))
