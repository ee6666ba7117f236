"""Whether a process of this machine that left something behind is still there."""

import os


def is_alive(process: int) -> bool:
    """Return whether there is another process of that number."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return process != os.getpid()
