"""dfd-serve: a page and an API that judge files; its workers; its keys."""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dfd.cli.exits import plain_command
from dfd.cli.words import read_words
from dfd.core.cores import share_cores
from dfd.core.errors import DfdError
from dfd.serving.settings import Settings

HELP = """dfd-serve run=outputs/demo                       serve a run on http://127.0.0.1:8000, with a page
dfd-serve run=[outputs/a,outputs/b] port=9000    several runs: every file is judged by each
dfd-serve worker run=outputs/demo database=postgresql://... storage=s3://...     a worker on another machine
dfd-serve keys                                   list the keys; keys new name=ann jobs_a_day=100; keys revoke ID

"""


@dataclass
class KeyOptions(Settings):
    """A key to make.

    Args:
        name: whose it is, for the operator.
        admin: whether it may read /metrics.
        jobs_a_day: quota; null: none.
        bytes_a_day: quota; null: none.
    """

    name: str = "unnamed"
    admin: bool = False
    jobs_a_day: int | None = None
    bytes_a_day: int | None = None


@plain_command(HELP + (Settings.__doc__ or ""))
def main(words: list[str]) -> int:
    """Run the command; return its exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("dfd").setLevel(logging.INFO)
    try:
        return _run(words)
    except ModuleNotFoundError as error:
        raise DfdError(f"{error}: the server's packages are an extra, pip install 'dfd[serve]'") from error


def _run(words: Sequence[str]) -> int:
    if words[:1] == ["keys"]:
        return _keys(words[1:])
    others, settings = read_words(Settings, words)
    settings = replace(settings, key=settings.key or os.environ.get("DEEPFAKE_API_KEY"))
    share_cores()
    if others == ["worker"]:
        from dfd.serving.worker import run_worker

        run_worker(settings)
        return 0
    if others:
        raise DfdError(f"{others[0]}: there are `worker` and `keys`; a run is given as run={others[0]}")
    from dfd.serving.serve import serve

    serve(settings, lambda opened: _say(opened, settings))
    return 0


def _say(opened: Any, settings: Settings) -> None:
    key = opened.made_key or "the one you have; dfd-serve keys new makes another"
    once = "   (shown once, and kept as a digest)" if opened.made_key else ""
    print(f"\n  {opened.address}\n  key: {key}{once}\n  judging with {', '.join(settings.names())}\n", flush=True)  # noqa: T201


def _keys(words: Sequence[str]) -> int:
    from rich.console import Console
    from rich.table import Table

    from dfd.serving.keys import Keys
    from dfd.serving.store import Store

    others, options = read_words(KeyOptions, words)
    options.folder.mkdir(parents=True, exist_ok=True)
    store = Store(options.database_url)
    store.create()
    keys = Keys(store)
    if others == ["new"]:
        print(keys.make(options.name, options.admin, options.jobs_a_day, options.bytes_a_day))  # noqa: T201
    elif len(others) == 2 and others[0] == "revoke":
        keys.revoke(others[1])
    elif others:
        raise DfdError(f"keys {' '.join(others)}: there are keys, keys new name=..., keys revoke ID")
    else:
        table = Table("id", "name", "admin", "jobs a day", "bytes a day", "revoked")
        for key in keys.all():
            quotas = ["" if each is None else str(each) for each in (key.jobs_a_day, key.bytes_a_day)]
            table.add_row(key.id, key.name, str(key.admin), *quotas, "yes" if key.revoked else "")
        Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
