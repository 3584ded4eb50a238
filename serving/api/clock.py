"""One request's time: what is left of its deadline, and where it went."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from serving import tracing
from serving.errors import DeadlinePassed


class Clock:
    """Started when a request's work starts; stages may overlap, so they need not add up to the total."""

    def __init__(self, timeout_s: float) -> None:
        self._start_s = time.monotonic()
        self._timeout_s = timeout_s
        self._stages_ms: dict[str, float] = {}

    def left_s(self) -> float:
        """Seconds until the deadline, more than 0. Raises ``DeadlinePassed``."""
        left_s = self._start_s + self._timeout_s - time.monotonic()
        if left_s <= 0:
            raise DeadlinePassed(f"no answer within {self._timeout_s:g} s")
        return left_s

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts the time inside the block towards ``name``, whether or not it raises; also a span."""
        start_s = time.monotonic()
        try:
            with tracing.stage(name):
                yield
        finally:
            self._stages_ms[name] = self._stages_ms.get(name, 0.0) + (time.monotonic() - start_s) * 1000

    @property
    def timings_ms(self) -> dict[str, float]:
        """Milliseconds by stage, and ``total`` until now."""
        timings_ms = {**self._stages_ms, "total": (time.monotonic() - self._start_s) * 1000}
        return {name: round(value, 1) for name, value in timings_ms.items()}


def server_timing(timings_ms: dict[str, float]) -> str:
    """The ``Server-Timing`` header (W3C Server Timing), which browsers show among their network tools."""
    return ", ".join(f"{name};dur={value:g}" for name, value in timings_ms.items())
