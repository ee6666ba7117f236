"""Threads that wait sleep where workers need the cores, unless it is too late or the user wants otherwise."""

import os
import subprocess
import sys

import pytest

CODE = """import os
{first}
from dfd.core.cores import share_cores
share_cores()
print(os.environ.get("OMP_WAIT_POLICY"))
"""


@pytest.mark.parametrize(
    ("first", "given", "expected"), [("", None, "PASSIVE"), ("", "ACTIVE", "ACTIVE"), ("import torch", None, "None")]
)
def test_threads_sleep_before_torch_is_there(first, given, expected):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": given} if given else {}
    command = [sys.executable, "-c", CODE.format(first=first)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == expected


def test_predict_does_not_import_torch_before():
    code = "import sys, dfd.cli.predict, dfd.cli.scan, dfd.cli.serve; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"
