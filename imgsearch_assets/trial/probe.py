"""What a shopper would find now: the golden queries of the live generation, through the public API."""

import asyncio
import json
import time
from dataclasses import asdict, astuple, dataclass

from prometheus_client import CollectorRegistry, Gauge

from imgsearch_assets.trial.golden import kept_golden
from imgsearch_assets.trial.smoke import Golden, Smoke, ask
from serving.errors import ImgsearchError, NotFound, Unverified
from serving.index.store import read_pointer
from serving.object_store import ObjectStore

# Of the deadline, for answers that are not right yet: a front follows a release within a second.
_PATIENCE = 0.5


@dataclass(frozen=True)
class Probed:
    """What came of one look. ``reason`` is empty where all was right; ``seconds`` is how long it took."""

    environment: str
    generation: str
    right: bool
    reason: str
    seconds: float
    queries: int
    median_ms: float
    longest_ms: float

    def json(self) -> str:
        """On one line."""
        return json.dumps(asdict(self))


class Probe:
    """Of one environment, by the API at ``api_url``. Each look takes ``deadline_s`` at most.

    What it learns of a generation is kept until another is live.
    """

    def __init__(
        self, store: ObjectStore, environment: str, api_url: str, key: str | None, deadline_s: float
    ) -> None:
        self._store = store
        self._environment = environment
        self._api_url = api_url
        self._key = key
        self._deadline_s = deadline_s
        self._golden: tuple[str, list[Golden]] = ("", [])

    def look(self) -> Probed:
        """Ask once. What keeps it from asking is a reason as well."""
        started, generation, reason = time.monotonic(), "", ""
        told = Smoke(0, 0.0, 0.0)
        try:
            generation = self._live()
            told = asyncio.run(self._ask(generation, self._golden_of(generation)))
        except ImgsearchError as error:
            if generation and self._went_on(generation):  # what was right then is not any more
                return self.look()
            reason = error.message
        took_s = round(time.monotonic() - started, 3)
        return Probed(self._environment, generation, not reason, reason, took_s, *astuple(told))

    async def _ask(self, generation: str, golden: list[Golden]) -> Smoke:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await ask(self._api_url, self._key, generation, golden, _PATIENCE * self._deadline_s)
        except TimeoutError:
            raise Unverified(
                f"{self._api_url} did not answer {2 * len(golden)} golden queries in {self._deadline_s:g} s"
            ) from None

    def _went_on(self, generation: str) -> bool:
        try:
            return self._live() != generation
        except ImgsearchError:
            return False

    def _live(self) -> str:
        pointer = read_pointer(self._store, self._environment).pointer
        if pointer is None:
            raise NotFound(f"nothing was ever released in {self._environment}")
        return pointer.live.generation

    def _golden_of(self, generation: str) -> list[Golden]:
        if self._golden[0] != generation:
            golden = kept_golden(self._store, generation)
            if golden is None:
                raise NotFound(
                    f"generation {generation} has no golden queries yet: the release that asks them through "
                    "the public API (IMGSEARCH_STAGING_API_URL, IMGSEARCH_PRODUCTION_API_URL) keeps them"
                )
            self._golden = (generation, golden)
        return self._golden[1]


class ProbeMetrics:
    """What Prometheus reads of a probe that looks again and again."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._right = Gauge(
            "imgsearch_probe_right",
            "1 while golden queries are answered rightly through the public API.",
            registry=self.registry,
        )
        self._at = Gauge(
            "imgsearch_probe_timestamp_seconds", "When it looked last, since 1970.", registry=self.registry
        )
        self._longest = Gauge(
            "imgsearch_probe_longest_seconds", "Of the answers of the last look.", registry=self.registry
        )

    def saw(self, probed: Probed) -> None:
        self._right.set(probed.right)
        self._at.set_to_current_time()
        self._longest.set(probed.longest_ms / 1000)
