"""Processes forked from a server with the pipeline imported, which takes longer than a small run does."""

import multiprocessing
import os
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from typing import Any

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["imgsearch_assets.refresh"])


def start_server() -> None:
    """If it is not there yet. Whoever will kill what has an environment lets it start before that."""
    forkserver.ensure_running()


def fork(environment: Mapping[str, str], work: Callable[..., None], *arguments: Any) -> BaseProcess:
    """``work`` at work with ``environment`` beside this process's own, whatever the server began with."""
    told = {**os.environ, **environment}
    process = PROCESSES.Process(target=_told, args=(told, work, arguments))
    process.start()
    return process


def _told(environment: dict[str, str], work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    work(*arguments)
