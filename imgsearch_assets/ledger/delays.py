"""How long a change takes to reach shoppers: half of them, and 95 of 100, over the last day."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgsearch_assets.tables import read_parquet
from serving.cache.stock_log import StockLog
from serving.ledger.events import passages
from serving.object_store import ObjectStore

WINDOW_S = 86_400.0


@dataclass(frozen=True)
class Delay:
    """``seconds`` of each change, of which 95 of 100 are to take ``wanted_s`` at most.

    ``unknown`` says why nothing could be measured.
    """

    name: str
    seconds: Sequence[float]
    wanted_s: float
    unknown: str = ""

    @property
    def figures(self) -> dict[str, float]:
        """By name; no figure of nothing."""
        found: dict[str, float] = {f"{self.name}_count": len(self.seconds)}
        if self.seconds:
            for share in (50, 95):
                found[f"{self.name}_p{share}_s"] = round(float(np.percentile(self.seconds, share)), 3)
        return found

    @property
    def passed(self) -> bool:
        return not self.unknown and self.figures.get(f"{self.name}_p95_s", 0.0) <= self.wanted_s

    @property
    def message(self) -> str:
        if self.unknown:
            return f"not measured: {self.unknown}"
        if not self.seconds:
            return "nothing to measure in the last day"
        p50, p95 = (self.figures[f"{self.name}_p{share}_s"] for share in (50, 95))
        return (
            f"of {len(self.seconds)} in the last day half took {p50:g} s, 95 of 100 {p95:g} s; "
            f"{self.wanted_s:g} s are allowed"
        )


def new_to_searchable(
    store: ObjectStore, environment: str, wanted_s: float, now: float | None = None
) -> Delay:
    """From when a new product was seen to the release that had it. ``now``: seconds since 1970."""
    log = passages(store, environment)
    since = pa.scalar(int(((now or time.time()) - WINDOW_S) * 1e6), pa.int64())
    seconds: list[float] = []
    for fragment in log.fragments():
        if fragment.last < since.as_py():
            continue
        rows = read_parquet(store, fragment.key, ["at", "seen_at", "seen_as"])
        at, seen_at = (rows[name].cast(pa.int64()) for name in ("at", "seen_at"))
        wanted: Any = pc.and_(pc.equal(rows["seen_as"], pa.scalar("new")), pc.greater_equal(at, since))
        took = pc.subtract(at, seen_at).filter(pc.fill_null(wanted, False)).drop_null()
        seconds += (took.to_numpy() / 1e6).tolist()
    return Delay("new_to_searchable", seconds, wanted_s)


def sold_to_hidden(stock_log: StockLog, wanted_s: float, now: float | None = None) -> Delay:
    """From the last look that saw a product on sale to when the search services could read otherwise.

    So by half a second too long rather than too short. Raises ``Unavailable``.
    """
    since = (now or time.time()) - WINDOW_S
    return Delay("sold_to_hidden", stock_log.sold_out_delays(since), wanted_s)
