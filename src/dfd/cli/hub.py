"""dfd-hub: publish a run, or bring one here."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dfd.cli.exits import plain_command
from dfd.cli.words import read_words
from dfd.core.errors import DfdError

HELP = """dfd-hub push outputs/mine owner/name licence=cc-by-nc-4.0     publish a run; private unless private=false
dfd-hub fetch hf://owner/name@revision                        bring one here and print its folder
python predict.py run=hf://owner/name input=clip.mp4          an address is taken wherever a run is

HF_TOKEN or `hf auth login` says who you are, HF_ENDPOINT names another hub. Runs of the rendered sample are refused.

"""


@dataclass
class Options:
    """How it is published.

    Args:
        licence: of the weights, as the hub names it, e.g. apache-2.0.
        private: whether only the owner sees it.
        plugins: packages of your own whose networks may be built.
    """

    licence: str | None = None
    private: bool = True
    plugins: list[str] = field(default_factory=list)


@plain_command(HELP + (Options.__doc__ or ""))
def main(words: list[str]) -> int:
    """Run the command; return its exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    others, options = read_words(Options, words)
    print(_run(others, options))  # noqa: T201
    return 0


def _run(words: Sequence[str], options: Options) -> str:
    from dfd.core.build import allowed_networks

    if len(words) == 3 and words[0] == "push":
        from dfd.export.hub import push

        networks = allowed_networks(options.plugins)
        return push(Path(words[1]), words[2], options.private, options.licence, networks)
    if len(words) == 2 and words[0] == "fetch":
        from dfd.core.hub import fetch

        return str(fetch(words[1]))
    raise DfdError("say what: dfd-hub push RUN owner/name, or dfd-hub fetch hf://owner/name")


if __name__ == "__main__":
    sys.exit(main())
