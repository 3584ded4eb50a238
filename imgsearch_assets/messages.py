"""Messages that say that the catalogue was written: many of them, few runs, and none is lost.

A message is done when the run for it is on record, or none is needed: it is acknowledged at the look after
the one that asked for the run, as Dagster keeps a look's cursor once its runs are there. One that has to wait
for a run in work is held meanwhile. Whatever dies in between, it is delivered again.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Protocol, Self

import dagster as dg


class Post(Protocol):
    """A subscription that is open. Messages are told apart by the ids with which they are acknowledged."""

    def take(self) -> Sequence[str]:
        """Those that are there, up to a bound. None where nobody answers."""

    def hold(self, ids: Sequence[str]) -> None:
        """Let them not be delivered again for now."""

    def acknowledge(self, ids: Sequence[str]) -> None: ...


class Inbox(Protocol):
    """Where messages come from."""

    def open(self) -> AbstractContextManager[Post]: ...


@dataclass(frozen=True)
class Look:
    """What comparing the catalogue came to. ``done``: no run is needed, now or later, for what was seen."""

    result: dg.SensorResult | dg.SkipReason
    cursor: str
    done: bool


@dataclass(frozen=True)
class _Desk:
    """Between two looks: ``asked`` have their run, ``waiting`` have not."""

    compared_at: float = 0.0
    asked: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    cursor: str = ""

    @classmethod
    def read(cls, text: str | None) -> Self:
        """Of a cursor from before there were messages, too."""
        try:
            kept = json.loads(text or "{}")
            return cls(kept["compared_at"], tuple(kept["asked"]), tuple(kept["waiting"]), kept["cursor"])
        except (ValueError, KeyError, TypeError):
            return cls(cursor=text or "")

    def text(self) -> str:
        return json.dumps(asdict(self))


def look_when_told(
    post: Post, cursor: str | None, every_s: float, now: float, compare: Callable[[str], Look]
) -> dg.SensorResult:
    """``compare`` where a message came or waits, or ``every_s`` after the last time; ``now`` in seconds."""
    desk = _Desk.read(cursor)
    post.acknowledge(desk.asked)
    waiting = desk.waiting
    if waiting:
        post.hold(waiting)
    else:
        waiting = tuple(post.take())
    if not waiting and now - desk.compared_at < every_s:
        desk = _Desk(desk.compared_at, cursor=desk.cursor)
        return dg.SensorResult(cursor=desk.text(), skip_reason="no message came since the last look")
    look = compare(desk.cursor)
    asked: tuple[str, ...] = ()
    if look.done:
        post.acknowledge(waiting)
        waiting = ()
    elif isinstance(look.result, dg.SensorResult) and look.result.run_requests:
        asked, waiting = waiting, ()
    desk = _Desk(now, asked, waiting, look.cursor)
    if isinstance(look.result, dg.SkipReason):
        return dg.SensorResult(cursor=desk.text(), skip_reason=look.result)
    return dg.SensorResult(
        cursor=desk.text(),
        asset_events=look.result.asset_events,
        run_requests=look.result.run_requests,
        skip_reason=look.result.skip_reason,
    )
