"""How much memory this process has taken."""

import math
import re
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_bytes() -> float:
    """Return the most bytes that were resident so far, NaN where the system does not say (Windows).

    Linux's getrusage begins with the peak of the process that started this one; its status file does not.
    """
    found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text()) if STATUS.is_file() else None
    if found:
        return 1024 * int(found[1])
    try:
        import resource  # Unix alone has it
    except ImportError:
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
