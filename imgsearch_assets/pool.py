"""Processes that work for this one, and end with it."""

import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import psutil

from serving.models import runtime

_LOOK_S = 1.0


def processes() -> ProcessPoolExecutor:
    """As many as there are cores. Not forked from here: forking beside threads is how processes hang."""
    return ProcessPoolExecutor(runtime.cores(), get_context("forkserver"), _end_with, (os.getpid(),))


def _end_with(parent: int) -> None:
    """Whoever is killed closes no pipe that others hold too: a worker would wait for its reader for ever."""
    process = psutil.Process(parent)

    def watch() -> None:
        while process.is_running():
            time.sleep(_LOOK_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
