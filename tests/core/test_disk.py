"""Full disks, folders that cannot be written, and folders that another process holds."""

import errno
import subprocess
import sys
import time

import pytest

from dfd.core.disk import in_words, is_forbidden, is_full
from dfd.core.errors import DfdError
from dfd.core.locks import alone_in

HOLD = """
import sys, time
from pathlib import Path
from dfd.core.locks import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(folder, seconds):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder), str(seconds)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_full_disk_is_recognised_whoever_reports_it():
    assert is_full(OSError(errno.ENOSPC, "No space left on device", "x.ckpt"))
    assert is_full(RuntimeError("[enforce fail at inline_container.cc] PytorchStreamWriter failed writing file data/3"))
    wrapped = ValueError("could not save")
    wrapped.__cause__ = OSError(errno.EDQUOT, "quota")
    assert is_full(wrapped)
    assert not is_full(ValueError("another fault"))


def test_the_next_step_is_said_with_the_path():
    assert "free some room" in in_words(OSError(errno.ENOSPC, "No space left on device", "/data/x"))
    assert "/data/x" in in_words(OSError(errno.EROFS, "Read-only file system", "/data/x"))
    assert is_forbidden(PermissionError(errno.EACCES, "Permission denied", "/data"))
    assert in_words(OSError(errno.ENOENT, "No such file", "x")) == ""


def test_a_second_process_is_refused_or_waits(tmp_path, caplog):
    first = holder(tmp_path, 2)
    said = pytest.raises(DfdError, match=r"another process is at work in .*: choose another name")
    with said, alone_in(tmp_path, otherwise="choose another name="):
        pass
    with alone_in(tmp_path):
        assert first.wait(5) == 0
    assert "waiting for another process" in caplog.text


def test_a_killed_process_holds_nothing(tmp_path):
    first = holder(tmp_path, 60)
    first.kill()
    first.wait()
    start = time.monotonic()
    with alone_in(tmp_path, otherwise="choose another name="):
        assert time.monotonic() - start < 2


def test_a_folder_that_cannot_be_written_needs_no_lock(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    monkeypatch.setattr("dfd.core.locks.FileLock.acquire", refuse)
    with alone_in(tmp_path):
        pass
