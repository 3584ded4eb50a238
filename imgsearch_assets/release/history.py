"""The releases that a pointer remembers, as rows for a person to read."""

from collections.abc import Collection
from datetime import UTC, datetime

from serving.index.store import Pointer

COLUMNS = ("generation", "since", "by", "why", "state")


def time_of(at: float) -> str:
    """Seconds since 1970 as a date."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S UTC}"


def rows_of(pointer: Pointer, there: Collection[str] | None = None) -> list[tuple[str, ...]]:
    """``COLUMNS`` of each release, the live one first; ``there`` are the generations that were not pruned."""
    rows, left = list[tuple[str, ...]](), None
    for number, release in enumerate(pointer.history):
        state = "" if number else "on trial" if release.on_trial else "live"
        if left == release.generation:  # by the release after it
            state = "went back"
        if there is not None and release.generation not in there:
            state = f"{state}, pruned".removeprefix(", ")
        rows.append((release.generation, time_of(release.at), release.who, release.why, state))
        left = release.rolled_back_from
    return rows
