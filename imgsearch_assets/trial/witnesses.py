"""Who says whether a release is served, and well: every replica of the search service, and the public API."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from imgsearch_assets.trial import replicas, smoke
from serving.rpc.client import IN_THE_CLEAR, Caller


@dataclass(frozen=True)
class Heard:
    """Seconds after which each replica was seen to serve the generation; None where the API was not asked."""

    replicas: dict[str, float]
    smoke: smoke.Smoke | None


@dataclass(frozen=True)
class Witnesses:
    """Of one environment. ``api_url`` is only asked where ``search_address`` is set."""

    search_address: str | None = None
    api_url: str | None = None
    # Shows to both who asks.
    caller: Caller = field(default=IN_THE_CLEAR, repr=False)
    deadline_s: float = 300.0

    def hear(
        self,
        generation: str,
        golden: Callable[[], Sequence[smoke.Golden]],
        look: Callable[[], None] = lambda: None,
    ) -> Heard | None:
        """What they say of a generation that was made live; None where nobody is named.

        ``golden`` is called beside the waiting, ``look`` again and again. Raises ``Unverified`` when the
        generation is not served by all within ``deadline_s``, or not well, and what ``look`` raises.
        """
        address = self.search_address
        return None if address is None else asyncio.run(self._hear(address, generation, golden, look))

    async def _hear(
        self,
        address: str,
        generation: str,
        golden: Callable[[], Sequence[smoke.Golden]],
        look: Callable[[], None],
    ) -> Heard:
        waiting = replicas.wait(address, generation, self.deadline_s, self.caller, look)
        if self.api_url is None:
            return Heard(await waiting, None)
        seconds, queries = await asyncio.gather(waiting, asyncio.to_thread(golden))
        patience_s = min(smoke.PATIENCE_S, self.deadline_s)
        asked = await smoke.ask(self.api_url, self.caller.key, generation, queries, patience_s)
        return Heard(seconds, asked)
