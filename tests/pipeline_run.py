"""A run of the whole pipeline in a process of its own, which may be killed, or made to wait, at an event."""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dagster as dg

import imgsearch_assets.refresh
from tests.forked import fork


@dataclass(frozen=True)
class At:
    """The moment of an event of a step: just before it is on record, or just after."""

    step: str
    event: dg.DagsterEventType
    after: bool = True


def start(
    environment: Mapping[str, str], dies: At | None = None, waits: tuple[At, Path] | None = None
) -> BaseProcess:
    """A refresh, in work: one that is killed at a moment, or one that waits there until a file is there."""
    return fork(environment, _run, dies, waits)


def ended(process: BaseProcess, timeout_s: float = 120) -> int:
    """Its exit status: 0 if it went well, 1 if it failed, negative if it was killed."""
    process.join(timeout_s)
    assert process.exitcode is not None, f"a refresh takes more than {timeout_s:.0f} s"
    return process.exitcode


def _run(dies: At | None, waits: tuple[At, Path] | None) -> None:
    record = dg.DagsterInstance.handle_new_event

    def recorded(self: dg.DagsterInstance, event: dg.EventLogEntry, **options: Any) -> None:
        happened = event.dagster_event
        for at in (dies, waits and waits[0]):
            if (
                happened is None
                or at is None
                or (happened.step_key, happened.event_type) != (at.step, at.event)
            ):
                continue
            if at.after:
                record(self, event, **options)
            if at is dies:
                os.kill(os.getpid(), signal.SIGKILL)
            while waits and not waits[1].exists():
                time.sleep(0.02)
            if at.after:
                return
        record(self, event, **options)

    dg.DagsterInstance.handle_new_event = recorded  # type: ignore[method-assign]
    imgsearch_assets.refresh.run_refresh()
