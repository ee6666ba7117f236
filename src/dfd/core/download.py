"""Downloads over HTTP that go on where they stopped."""

import os
import urllib.error
import urllib.request
from pathlib import Path

from dfd.core.errors import DfdError

BLOCK, TIMEOUT = 1 << 20, 60


def download(url: str, target: Path) -> bool:
    """Bring a file; return whether anything was left to do.

    What came before an interruption lies in `<target>.part`. It is used only if the server says, by its ETag, that the
    file is still the same one; else the file is fetched from its beginning.
    """
    if target.is_file():
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    part, mark = target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.etag")
    request = urllib.request.Request(url)
    if part.is_file() and mark.is_file():
        request.add_header("Range", f"bytes={part.stat().st_size}-")
        request.add_header("If-Range", mark.read_text(encoding="utf-8"))
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            goes_on = answer.status == 206
            have = part.stat().st_size if goes_on else 0
            expected = have + int(answer.headers["Content-Length"]) if answer.headers["Content-Length"] else None
            if answer.headers["ETag"]:
                mark.write_text(answer.headers["ETag"], encoding="utf-8")
            with part.open("ab" if goes_on else "wb") as file:
                while block := answer.read(BLOCK):
                    file.write(block)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            part.unlink(missing_ok=True)
        raise DfdError(f"{url}: the server answered {error.code} {error.reason}; run the same command again") from error
    except OSError as error:
        raise DfdError(f"{url} stopped ({error}): the same command goes on") from error
    if expected is not None and part.stat().st_size != expected:
        raise DfdError(f"{url} stopped at {part.stat().st_size} of {expected} bytes: the same command goes on")
    os.replace(part, target)
    mark.unlink(missing_ok=True)
    return True
