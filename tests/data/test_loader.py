"""Workers of the loader, seen from a process that has done other things before."""

import pickle
import subprocess
import sys

import pytest

BUSY = """
import pickle, sys
import cv2, numpy as np
from dfd.core.records import InputSpec
from dfd.data.datamodule import FaceDataModule

cv2.setNumThreads(4)
cv2.warpAffine(np.zeros((4000, 4000, 3), np.uint8), np.eye(2, 3), (4000, 4000))  # starts OpenCV's threads
manifest = pickle.loads(open(sys.argv[1], "rb").read())
data = FaceDataModule(manifest, InputSpec("image", 32), batch_size=4, workers=1)
print(sum(len(batch["label"]) for batch in data.train_dataloader()))
"""


FAILING = """
import pickle, sys
from dfd.core.records import InputSpec
from dfd.data.datamodule import FaceDataModule

manifest = pickle.loads(open(sys.argv[1], "rb").read())
batches = iter(FaceDataModule(manifest, InputSpec("image", 32), batch_size=1, workers=2).train_dataloader())
next(batches)
sys.kept = batches  # as the traceback of an error does
sys.exit("an error")
"""


def run(script, manifest, folder):
    (folder / "manifest").write_bytes(pickle.dumps(manifest))
    command = [sys.executable, "-c", script, str(folder / "manifest")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
def test_workers_start_where_opencv_has_used_its_threads(noise, tmp_path):
    """A forked worker has none of the threads that its copy of OpenCV believes in, and must not wait for them."""
    done = run(BUSY, noise, tmp_path)
    assert done.returncode == 0, done.stderr[-1000:]
    assert int(done.stdout) > 0


@pytest.mark.slow
def test_a_process_that_fails_does_not_wait_for_its_workers(noise, tmp_path):
    done = run(FAILING, noise, tmp_path)
    assert done.returncode == 1
    assert "an error" in done.stderr
