"""Runs on a hub: `run=hf://owner/name@revision` stands for one wherever a run is taken."""

import os
import re
from pathlib import Path
from typing import Any

from dfd.core.errors import DfdError

DESCRIPTION, WEIGHTS = "dfd.json", "model.safetensors"
FILES = (DESCRIPTION, WEIGHTS, "operating.json", "README.md")
ADDRESS = re.compile(r"hf:/{1,2}(?P<name>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w./-]+))?/?$")


def is_address(run: str) -> bool:
    """Whether a run is named by its place on the hub."""
    return run.startswith("hf:/")


def fetch(address: str) -> Path:
    """Bring a published run to this machine, or find it in the cache; return its folder."""
    from huggingface_hub import snapshot_download

    parts = ADDRESS.match(address)
    if parts is None:
        raise DfdError(f"{address}: a run on the hub is written hf://owner/name, or hf://owner/name@revision")
    try:
        options: dict[str, Any] = {"revision": parts["revision"], "endpoint": os.environ.get("HF_ENDPOINT")}
        folder = snapshot_download(parts["name"], allow_patterns=list(FILES), **options)
    except Exception as error:  # the hub's client and its transports raise many unrelated kinds
        reason = " ".join(str(error).split())[:200]
        raise DfdError(
            f"{address} could not be fetched ({type(error).__name__}: {reason}): check the name, log in with "
            "`hf auth login` if it is private, or copy the run folder"
        ) from error
    if not (Path(folder) / DESCRIPTION).is_file():
        raise DfdError(f"{address} holds no {DESCRIPTION}: it was not published by dfd-hub push")
    return Path(folder)
