"""Progress of long work: a bar on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[[int], None]

_LINE_EVERY_S = 5.0


def silent(_: int) -> None:
    """For callers that show no progress."""


@contextmanager
def stage(name: str, total: int) -> Iterator[Advance]:
    """Show ``name`` until the block ends; the yielded function takes how many of ``total`` were just done."""
    if sys.stderr.isatty():
        columns = (
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(name, total=total)
            yield lambda done: bar.advance(task, done)
        return

    started, said, done = time.monotonic(), time.monotonic(), 0

    def advance(more: int) -> None:
        nonlocal done, said
        done += more
        if time.monotonic() - said >= _LINE_EVERY_S:
            said = time.monotonic()
            print(f"{name}: {done:,} of {total:,}, {said - started:.0f} s", file=sys.stderr, flush=True)

    yield advance
    print(f"{name}: {done:,} done in {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
