"""What of a shop is in stock, in Redis: all of it, and a log of what changed.

Of the environment "local", ``stock:{local}:state`` is a hash, a product's id to ``1`` (in stock) or ``0``
(sold out), and ``stock:{local}:changes`` a stream with an entry a change, of which about the last ``KEPT``
stay. Whoever has read the state goes on by the log from the entry that it came to, whose id is the *version*
of the stock. Is that entry not there any more (cut off, or of a Redis that lost its data), the state is read
again. There is a state where there is an entry. ``stock:{local}:compared`` is when the feed last held the
state against the catalogue, seconds since 1970; ``stock:{local}:halted`` since when, and why, it does not.

An entry's id is when it was written. Where the writer knows, it has beside it when the catalogue last said
otherwise: so long, at most, a shopper was shown what was sold out.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import floor
from typing import Any, NamedTuple
from uuid import uuid4

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, WatchError
from redis.retry import Retry

from serving.cache.stock import SOLD_OUT, UNKNOWN, Changes, Known, News
from serving.cache.troubles import trouble
from serving.errors import Unavailable

# Entries of the log that stay, about. So many changes at once are a new state instead.
KEPT, MOST_CHANGES = 100_000, 10_000
_BATCH = 1_000
_TIMEOUT_S = 2.0
_ATTEMPTS = 5
# Of a state that is being written, should its writer die.
_HALF_WRITTEN_S = 600
# What an entry says: of a product whether it is in stock, or that all of the state is new.
_PRODUCT, _VALUE, _ALL, _SINCE = b"product_id", b"in_stock", b"all", b"since"
# Entries, of the newest, among which a product's last change is looked for.
_LOOKED_AT = 10_000


class StockState(NamedTuple):
    """Of one product: its value, ``UNKNOWN`` where Redis has none, and when it changed, if that is known."""

    value: int
    at: float | None


class Halted(NamedTuple):
    """Since when, in seconds since 1970, the feed writes nothing, and why."""

    at: float
    why: str


class StockLog:
    """The stock of ``environment`` at ``redis_url``. Blocks; every method raises ``Unavailable``."""

    def __init__(self, redis_url: str, environment: str, timeout_s: float = _TIMEOUT_S) -> None:
        self._client = redis.Redis.from_url(
            redis_url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        self._state, self._log, self._compared, self._halted = (
            stock_key(environment, part) for part in ("state", "changes", "compared", "halted")
        )

    def close(self) -> None:
        self._client.close()

    def news(self, version: str) -> News | None:
        """What changed since ``version``; None when that cannot be said, and the whole is to be read."""
        changes: dict[str, int] = {}
        with _answering():
            while True:
                entries = self._entries(version)
                if not entries or entries[0][0].decode() != version:
                    return None
                for _, fields in entries[1:]:
                    if _ALL in fields:
                        return None
                    changes[fields[_PRODUCT].decode()] = int(fields[_VALUE])
                version = entries[-1][0].decode()
                if len(entries) <= _BATCH:
                    return News(version, changes)

    def whole(self) -> Known | None:
        """Everything; None where nothing was ever written, or all of it was lost."""
        for _ in range(_ATTEMPTS):
            with _answering():
                version = self._version(self._client)
                if version is None:
                    return None
                found: dict[bytes, bytes] = dict(self._client.hscan_iter(self._state, count=_BATCH))
            # What was changed while it was read is in the log.
            known = Known(version, {name.decode(): int(value) for name, value in found.items()})
            news = self.news(version)
            if news is not None:
                known.take(news)
                return known
        raise Unavailable("the stock in Redis changes faster than it can be read")

    def write(self, version: str | None, changes: Changes, since: float | None = None) -> str | None:
        """Makes ``changes`` to the stock at ``version``; the version that it has then.

        ``since``, seconds since 1970, is when none of them was true yet, for ``sold_out_delays``. None, and
        nothing is changed, when another has changed it meanwhile.
        """
        if len(changes) > MOST_CHANGES:
            raise ValueError(f"{len(changes)} changes are a new state")
        there: dict[Any, Any] = {name: value for name, value in changes.items() if value != UNKNOWN}
        gone = [name for name, value in changes.items() if value == UNKNOWN]
        with _answering(), self._client.pipeline() as pipe:
            if not self._is_at(pipe, version):
                return None
            if there:
                pipe.hset(self._state, mapping=there)
            if gone:
                pipe.hdel(self._state, *gone)
            for name, value in changes.items():
                entry: dict[Any, Any] = {_PRODUCT: name, _VALUE: value}
                if since is not None:
                    # Whole milliseconds, as Redis's own times are: not later than what it is taken from.
                    entry[_SINCE] = f"{floor(since * 1000) / 1000:.3f}"
                pipe.xadd(self._log, entry, maxlen=KEPT)
            return _written(pipe)

    def write_whole(self, version: str | None, products: Changes) -> str | None:
        """The same, with ``products`` in place of all that was there."""
        new = f"{self._state}:{uuid4().hex}"
        items = list(products.items())
        with _answering(), self._client.pipeline() as pipe:
            for start in range(0, len(items), _BATCH):
                self._client.hset(new, mapping=dict(items[start : start + _BATCH]))
                self._client.expire(new, _HALF_WRITTEN_S)
            if not self._is_at(pipe, version):
                return None
            pipe.rename(new, self._state)
            pipe.persist(self._state)
            pipe.xadd(self._log, {_ALL: 1}, maxlen=KEPT)
            return _written(pipe)

    def compared(self) -> None:
        """Remember that the stock was held against the catalogue just now."""
        with _answering(), self._client.pipeline() as pipe:
            pipe.set(self._compared, f"{time.time():.3f}")
            pipe.delete(self._halted)
            pipe.execute()

    def halt(self, why: str) -> None:
        """Remember that the feed writes nothing, until it has ``compared`` again."""
        with _answering(), self._client.pipeline() as pipe:
            pipe.hsetnx(self._halted, "at", f"{time.time():.3f}")
            pipe.hset(self._halted, "why", why)
            pipe.execute()

    def halted(self) -> Halted | None:
        """None while the feed goes on, as far as is known here."""
        with _answering():
            found: Any = self._client.hgetall(self._halted)
        return Halted(float(found[b"at"]), found[b"why"].decode()) if found else None

    def compared_at(self) -> float:
        """When that was, in seconds since 1970; 0 for never."""
        with _answering():
            found: Any = self._client.get(self._compared)
        return float(found or 0)

    def latest(self, count: int) -> list[tuple[float, str, int]]:
        """The last changes, the newest first: seconds since 1970, product, value.

        A new state has no product.
        """
        with _answering():
            entries: Any = self._client.xrevrange(self._log, count=count)
        return [
            (
                int(entry.partition(b"-")[0]) / 1000,
                fields.get(_PRODUCT, b"").decode(),
                int(fields.get(_VALUE, UNKNOWN)),
            )
            for entry, fields in entries
        ]

    def of(self, product_id: str) -> StockState:
        """What is known of one product; when it changed, if that is among the last thousands of changes."""
        with _answering():
            value: Any = self._client.hget(self._state, product_id)
            for at, fields in self._newest(_LOOKED_AT):
                if fields.get(_PRODUCT, b"").decode() == product_id:
                    return StockState(UNKNOWN if value is None else int(value), at)
        return StockState(UNKNOWN if value is None else int(value), None)

    def sold_out_delays(self, since: float) -> list[float]:
        """Seconds that what was sold out after ``since`` (seconds since 1970) took to get here, at most."""
        with _answering():
            return [
                at - float(fields[_SINCE])
                for at, fields in self._newest(KEPT, since)
                if _SINCE in fields and int(fields[_VALUE]) == SOLD_OUT
            ]

    def _newest(self, most: int, since: float = 0.0) -> Iterator[tuple[float, dict[bytes, bytes]]]:
        """When each entry was written, and what it says: the newest first, none before ``since``."""
        last = "+"
        for _ in range(0, most, _BATCH):
            entries: Any = self._client.xrevrange(self._log, max=last, min=int(since * 1000), count=_BATCH)
            for entry, fields in entries:
                yield int(entry.partition(b"-")[0]) / 1000, fields
            if len(entries) < _BATCH:
                return
            last = f"({entries[-1][0].decode()}"

    def _entries(self, version: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """From that of ``version`` on, itself included."""
        entries: Any = self._client.xrange(self._log, min=version, count=_BATCH + 1)
        return list(entries)

    def _version(self, client: redis.Redis) -> str | None:
        last: Any = client.xrevrange(self._log, count=1)
        return last[0][0].decode() if last else None

    def _is_at(self, pipe: Any, version: str | None) -> bool:
        """Begins a transaction that fails should the log grow before its end."""
        pipe.watch(self._log)
        if self._version(pipe) != version:
            return False
        pipe.multi()
        return True


def stock_key(environment: str, part: str) -> str:
    """The braces keep the keys of an environment together in a Redis of several nodes."""
    return f"stock:{{{environment}}}:{part}"


def in_stock(ids: Sequence[str], values: Sequence[bytes | None]) -> dict[str, bool]:
    """Whether each of the products is, by the values that the state has of them; none where it has none."""
    return {name: value == b"1" for name, value in zip(ids, values, strict=True) if value is not None}


def _written(pipe: Any) -> str | None:
    try:
        return str(pipe.execute()[-1].decode())
    except WatchError:
        return None


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise Unavailable(f"the stock in Redis cannot be reached: {trouble(error).said}") from error
