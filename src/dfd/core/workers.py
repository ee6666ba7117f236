"""What every worker process does first: one thread, no Ctrl-C of its own, and an end with the main process."""

import os
import signal
from multiprocessing import parent_process
from threading import Thread


def start_worker() -> None:
    """Prepare a worker: work is spread over files, not within one; Ctrl-C is the main process's; nobody outlives it."""
    os.environ["OMP_NUM_THREADS"] = "1"  # torch is imported later, and only by workers that look for faces
    Thread(target=_leave_with_the_main_process, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import cv2

    cv2.setNumThreads(1)


def _leave_with_the_main_process() -> None:
    """A main process that is killed tells nobody: its workers would go on, and wait for more forever."""
    main = parent_process()
    if main is not None:
        main.join()
        os._exit(1)
