"""Dagster's programs as containers, copied from a process that has imported what they need.

Else a pod would take as long to import the pipeline as its step takes.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from imgsearch_assets.graph.pods import UNTIL_KILLED
from tests.forked import PROCESSES
from tests.k8s.kubelet import Process


class _Forked:
    def __init__(self, process: BaseProcess) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def wait(self) -> int:
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode


def start(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Process:
    """``command`` is ``dagster`` or ``dagster-daemon`` with arguments, perhaps behind ``UNTIL_KILLED``."""
    process = PROCESSES.Process(target=_run, args=(tuple(command), dict(environment), str(log)))
    process.start()
    return _Forked(process)


def _beside_a_shell() -> None:
    """Return in a child of this process, which does what the shell of ``UNTIL_KILLED`` does."""
    child = os.fork()
    if child == 0:
        return
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(code if code >= 0 else 128 - code)


def _run(command: tuple[str, ...], environment: dict[str, str], log: str) -> None:
    os.setsid()
    if command[: len(UNTIL_KILLED)] == UNTIL_KILLED:
        command = command[len(UNTIL_KILLED) :]
        _beside_a_shell()
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(sink, number)
    os.environ.clear()
    os.environ.update(environment)
    sys.modules.pop("imgsearch_assets.definitions", None)  # made by another environment
    sys.argv = list(command)
    if command[0] == "dagster-daemon":
        from dagster._daemon.cli import main
    else:
        from dagster._cli import main
    main()
