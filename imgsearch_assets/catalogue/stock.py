"""The stock feed: what the catalogue says is in stock, into Redis, within a moment of its change.

A process of its own, as a run of the pipeline takes seconds. It compares states, so that whatever was missed
(Redis was away, the feed was, somebody else wrote) is made up for at the next look.
"""

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from imgsearch_assets.catalogue.columns import booleans, texts
from imgsearch_assets.catalogue.warehouse import Warehouse
from serving.cache.stock import IN_STOCK, SOLD_OUT, UNKNOWN, Known, News
from serving.cache.stock_log import MOST_CHANGES, StockLog
from serving.errors import BadInput, ImgsearchError, Unavailable

log = logging.getLogger(__name__)

# Beside ``IMGSEARCH_STOCK_MAX_LOST``: so many products may leave at once, or half of a shop with fewer.
_MAX_LOST = 20
# A product that left the catalogue counts as sold out until no generation has it any more.
_FORGOTTEN_S = 7 * 86_400.0
_LONGEST_WAIT_S = 5.0


class Listed(NamedTuple):
    """Each product of a catalogue once, as Arrow's text, and int8 (n,) whether it is in stock."""

    ids: Any
    values: NDArray[np.int8]

    @classmethod
    def of(cls, rows: pa.Table) -> Self:
        """Of rows with ``product_id`` and ``in_stock``: the first of an id counts, as in a snapshot.

        What cannot be read is ``UNKNOWN``.
        """
        ids = pc.utf8_trim_whitespace(texts(rows["product_id"].combine_chunks())[0])
        in_stock = booleans(rows["in_stock"].combine_chunks())[0]
        values = pc.fill_null(in_stock.cast(pa.int8()), UNKNOWN)
        named = pc.fill_null(pc.not_equal(ids, pa.scalar("")), False)
        ids, values = ids.filter(named), values.filter(named).to_numpy()
        _, first = np.unique(ids.dictionary_encode().indices.to_numpy(), return_index=True)
        return cls(ids.take(pa.array(first)), values[first])


def left(before: Known, listed: Listed) -> dict[str, int]:
    """The products of ``before`` that are not listed any more, as they were."""
    ids, values = before.all()
    gone = pc.invert(pc.is_in(ids, value_set=listed.ids))
    names = ids.filter(gone).to_pylist()
    return dict(zip(names, values[gone.to_numpy(zero_copy_only=False)].tolist(), strict=True))


def differences(before: Known, listed: Listed, gone: Mapping[str, int]) -> dict[str, int]:
    """What has to change in ``before``; ``gone`` are those that ``left``, which are sold out."""
    was = before.values(listed.ids)
    changed = (listed.values != was) & (listed.values != UNKNOWN)
    names = listed.ids.filter(pa.array(changed)).to_pylist()
    found = dict(zip(names, listed.values[changed].tolist(), strict=True))
    return found | {name: SOLD_OUT for name, value in gone.items() if value == IN_STOCK}


def check_sane(before: Known, changes: dict[str, int], listed: Listed, max_lost: float) -> None:
    """Raise ``BadInput`` for a change that would empty the shop: more likely the catalogue is broken."""
    known = before.all()[1]
    was = int(np.count_nonzero(known == IN_STOCK))
    lost = sum(value == SOLD_OUT for value in changes.values())
    most = max(int(was * max_lost), min(_MAX_LOST, (was + 1) // 2))
    if was and lost > most:
        raise BadInput(
            f"{lost} of {was} products in stock would leave at once, at most {most} may; nothing is written: "
            "if that is right, run imgsearch stock feed --once --allow"
        )
    if not len(known) and not np.any(listed.values == IN_STOCK):
        raise BadInput(
            f"none of the {len(listed.ids)} products of the catalogue is in stock; nothing is written"
        )


class Feed:
    """From the catalogue to ``stock_log``. ``max_lost`` is a share, 1 for whatever comes."""

    def __init__(self, catalogue: Warehouse, stock_log: StockLog, max_lost: float) -> None:
        self._catalogue = catalogue
        self._log = stock_log
        self._max_lost = max_lost
        self._stamp: str | None = None
        self._listed: Listed | None = None
        self._known: Known | None = None  # what Redis holds
        self._before = Known("", {})  # or held, before it was lost
        self._settled = False  # and it is what the catalogue says
        self._compared_at: float | None = None  # what the catalogue said was in Redis then
        self._left: dict[str, float] = {}  # products that left the catalogue, and when

    def look(self) -> dict[str, int]:
        """Look once, and write what differs: products to ``IN_STOCK``, ``SOLD_OUT`` or ``UNKNOWN``.

        Raises ``BadInput`` where the catalogue cannot be read or would empty the shop, ``Unavailable`` where
        it is held or being written, or Redis is away. Nothing is written then.
        """
        began = time.time()
        listed = self._read()
        if self._compared_at is None:
            self._compared_at = self._log.compared_at() or None
        self._catch_up()
        changes: dict[str, int] = {}
        while not self._settled:
            gone = left(self._before, listed)
            changes = differences(self._before, listed, gone)
            check_sane(self._before, changes, listed, self._max_lost)
            changes |= self._forgotten(gone)
            same = not changes and self._known is not None
            self._settled = same or self._written(changes)
            if not self._settled:
                self._catch_up()  # another feed was faster
        self._log.compared()
        self._compared_at = began
        return changes

    def halt(self, why: str) -> None:
        """Leave word that nothing is written, and why, where Redis can be reached."""
        with suppress(Unavailable):
            self._log.halt(why)

    def _read(self) -> Listed:
        stamp = self._catalogue.stamp()
        if self._listed is None or stamp != self._stamp:
            listed = Listed.of(self._catalogue.read(("product_id", "in_stock")))
            if self._catalogue.stamp() != stamp:
                raise Unavailable(f"the catalogue {self._catalogue.location} is being written")
            self._listed, self._stamp, self._settled = listed, stamp, False
        return self._listed

    def _catch_up(self) -> None:
        """Know what Redis holds now."""
        news = None if self._known is None else self._log.news(self._known.version)
        if news is None:
            self._known = self._log.whole()
            self._before = self._known or self._before
            self._settled = False
        elif self._known is not None and news.version != self._known.version:
            self._known.take(news)
            self._settled = False

    def _written(self, changes: dict[str, int]) -> bool:
        if self._known is not None and len(changes) <= MOST_CHANGES:
            version = self._log.write(self._known.version, changes, self._compared_at)
            if version is not None:
                self._known.take(News(version, changes))
        else:
            ids, values = self._before.all()
            products = dict(zip(ids.to_pylist(), values.tolist(), strict=True)) | changes
            products = {name: value for name, value in products.items() if value != UNKNOWN}
            version = self._log.write_whole(self._known.version if self._known else None, products)
            if version is not None:
                self._known = self._before = Known(version, products)
        return version is not None

    def _forgotten(self, gone: Mapping[str, int]) -> dict[str, int]:
        """Of products that left long ago nothing is known any more."""
        now = time.monotonic()
        self._left = {name: self._left.get(name, now) for name in gone}
        return {name: UNKNOWN for name, at in self._left.items() if now - at > _FORGOTTEN_S}


def follow(feed: Feed, poll_s: float) -> None:
    """Look again and again, for ever; after a failure at longer intervals."""
    wait_s, said = poll_s, ""
    while True:
        try:
            changes = feed.look()
        except (ImgsearchError, OSError) as error:
            if str(error) != said:
                said = str(error)
                log.error("the stock is not followed: %s", said)
            feed.halt(said)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        else:
            if changes:
                values = list(changes.values())
                fields = {"in_stock": values.count(IN_STOCK), "sold_out": values.count(SOLD_OUT)}
                log.info("the stock changed", extra={"fields": fields})
            wait_s, said = poll_s, ""
        time.sleep(wait_s)
