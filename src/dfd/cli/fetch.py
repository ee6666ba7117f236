"""dfd-fetch: how a dataset can be had lawfully; bring it where a client may, unpack it, and compare its counts."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfd.cli.exits import plain_command
from dfd.cli.words import read_words
from dfd.core.errors import DfdError, did_you_mean
from dfd.data.datasets.sources import SOURCES, Source

HELP = """dfd-fetch                            the datasets it knows
dfd-fetch NAME                       how it can be had, its size and licence; nothing is downloaded
dfd-fetch NAME to=/data/NAME         bring it (an interrupted download goes on), unpack, compare the counts

Where a form must be signed, put what the authors sent into the folder and run the last line: it unpacks and compares.

"""


@dataclass
class Options:
    """Where to.

    Args:
        to: the folder it goes to.
        address: another address for its client, e.g. faridlab/deepspeak_v1_1, or a mirror.
        probe: compare the counts of what was unpacked with those published.
    """

    to: str | None = None
    address: str | None = None
    probe: bool = True


@plain_command(HELP + (Options.__doc__ or ""))
def main(words: list[str]) -> int:
    """Run the command; return its exit status."""
    names, options = read_words(Options, words)
    if not names:
        print("\n".join(f"{name:20} {source.title}" for name, source in sorted(SOURCES.items())))  # noqa: T201
        return 0
    if len(names) > 1 or names[0] not in SOURCES:
        raise DfdError(f"dfd-fetch {' '.join(names)}: no such dataset{did_you_mean(names[0], list(SOURCES))}")
    source = SOURCES[names[0]]
    print(describe(names[0], source))  # noqa: T201
    if options.to is not None:
        bring(source, Path(options.to), options.address)
        if options.probe:
            probe(names[0], Path(options.to))
    return 0


def describe(name: str, source: Source) -> str:
    """Return what to do for a dataset."""
    steps = [*source.steps]
    how = "brings and unpacks it" if source.client else "unpacks what you put there"
    steps.append(f"`dfd-fetch {name} to=FOLDER` {how}, and compares its counts with those published.")
    lines = [f"{number}. {step}" for number, step in enumerate(steps, 1)]
    return "\n".join([source.title, f"size: {source.size}", f"licence: {source.licence}", *lines])


def bring(source: Source, folder: Path, address: str | None = None) -> None:
    """Download what a client may, and unpack the archives of the folder."""
    from dfd.core.archives import archives, unpack

    folder.mkdir(parents=True, exist_ok=True)
    address = address or source.address
    if source.client == "http":
        from dfd.core.download import download

        download(address, folder / address.rsplit("/", 1)[-1])
    elif source.client == "huggingface":
        _hugging_face(address, folder)
    elif source.client == "kaggle":
        _run(["kaggle", "competitions", "download", "-c", address, "-p", str(folder)])
    for parts in archives(folder):
        written = unpack(parts, folder)
        print(f"{parts[0].name}: {written} files unpacked")  # noqa: T201
    if not any(path.is_dir() and not path.name.startswith(".") for path in folder.iterdir()):
        raise DfdError(f"nothing to unpack in {folder}: put there what the authors sent, then run this again")


def probe(name: str, folder: Path) -> None:
    """Compare found with published counts, as `preprocess.py stages=[probe]` does."""
    from dfd.cli.functions import preprocess

    inner = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    root = inner[0] if SOURCES[name].packed_whole and len(inner) == 1 else folder
    preprocess(name, {"data.root": str(root), "stages": ["probe"]})


def _hugging_face(name: str, folder: Path) -> None:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise DfdError("this dataset is on Hugging Face: pip install huggingface-hub") from error
    try:
        snapshot_download(name, repo_type="dataset", local_dir=folder)
    except Exception as error:  # the hub's client and its transports raise many unrelated kinds
        reason = " ".join(str(error).split())[:200]
        raise DfdError(
            f"{name} could not be fetched ({type(error).__name__}: {reason}): `hf auth login`, accept the conditions "
            f"on huggingface.co/datasets/{name}, then the same command goes on"
        ) from error


def _run(command: Sequence[str]) -> None:
    if shutil.which(command[0]) is None:
        raise DfdError(f"{command[0]} is not installed: pip install {command[0]}, log in, and run this again")
    if subprocess.run(command, check=False).returncode:
        raise DfdError(f"`{' '.join(command)}` failed: what it said is above")


if __name__ == "__main__":
    import sys

    sys.exit(main())
