"""What is served of the generations that follow each other, and what is told of it, whatever holds them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from serving.errors import ImgsearchError, Unavailable
from serving.index.store import Failure
from serving.telemetry import IndexMetrics, versions

log = logging.getLogger(__name__)

T = TypeVar("T")

# Characters of a reason that its metric's label shows.
_REASON = 300


class Following(Generic[T]):
    """``on_swap`` is awaited after each exchange. A holder says how to ``look``."""

    def __init__(self, metrics: IndexMetrics, on_swap: Callable[[], Awaitable[None]]) -> None:
        self._metrics = metrics
        self._on_swap = on_swap
        self._served: T | None = None
        self.failure: Failure | None = None
        self._told: tuple[str, str] | None = None

    def current(self) -> T:
        """What to search. Raises ``Unavailable`` before the first generation."""
        if self._served is None:
            raise Unavailable("no generation is loaded yet")
        return self._served

    @property
    def loaded(self) -> T | None:
        return self._served

    async def follow(self, poll_interval_s: float) -> None:
        """Look again and again, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(poll_interval_s)

    async def look(self) -> None:
        """Look once, and take another generation into use when there is one."""
        raise NotImplementedError

    async def _exchange(
        self, served: T, what: Mapping[str, str], products: int, rows: int, created_at: float
    ) -> None:
        """``what`` it is: generation, embedder and detector."""
        generation = what["generation"]
        self._served = served
        self._metrics.swaps.inc()
        self._metrics.generation.info(dict(what))
        versions.update(what)
        self._metrics.created.set(created_at)
        self._metrics.products.set(products)
        self._metrics.rows.set(rows)
        fields = {"generation": generation, "products": products, "rows": rows}
        log.info("generation %s is served", generation, extra={"fields": fields})
        await self._on_swap()

    def _went_well(self) -> None:
        self._set_failure(None)

    def _failed(self, generation: str, error: Exception) -> None:
        """The old one is served on, and says why."""
        trace = None
        if isinstance(error, ImgsearchError):
            reason = str(error)
        elif isinstance(error, OSError):
            reason = f"the object store cannot be read: {error.strerror or error}"
        else:
            reason, trace = f"{type(error).__name__} while reading it", error
        failure = Failure(generation, reason)
        # A look a second would fill the log with the same sentence; how much memory is free always differs.
        same = (generation, error.code if isinstance(error, Unavailable) else reason)
        if same != self._told:
            self._told = same
            self._metrics.failures.inc()
            log.error("generation %s is not served: %s", generation or "?", reason, exc_info=trace)
        self._set_failure(failure)

    def _set_failure(self, failure: Failure | None) -> None:
        self.failure = failure
        if failure is None:
            self._told = None
        self._metrics.stale.set(failure is not None)
        said = failure or Failure("", "")
        self._metrics.failure.info({"generation": said.generation, "reason": said.reason[:_REASON]})
