"""What the object store and Redis know of one product, by a few row groups of a few files, within a time."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from serving.cache.stock_log import StockLog, StockState
from serving.errors import DeadlinePassed, NotFound, Unavailable, Unverified
from serving.index.generation import PRODUCTS, Manifest
from serving.index.store import Release, environments, generations, read_manifest, read_pointer
from serving.ledger.events import passages, sightings
from serving.ledger.journey import PictureState, Place, State
from serving.ledger.log import EventLog
from serving.ledger.rows import latest_where, rows_where
from serving.models import detector, embedder
from serving.models.live import live_version
from serving.object_store import ObjectStore

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """``row`` and ``live`` are what the newest snapshot and the live generation have; None for nothing."""

    product_id: str
    environment: str
    snapshot: str | None
    row: Row | None
    rejected: Sequence[Row]
    sightings: Sequence[Row]
    passages: Sequence[Row]
    pictures: Sequence[PictureState]
    release: Release | None
    live: Row | None
    since: float | None
    places: Sequence[Place]
    # A generation that has it and is not live here; and the release that left it, if one did.
    other: Manifest | None
    rolled_back: Release | None
    stock: StockState | None
    stock_unknown: str | None  # why, where a Redis is set


class _Reading:
    """The store, until time is up. Raises ``DeadlinePassed`` then."""

    def __init__(self, store: ObjectStore, product_id: str, timeout_s: float) -> None:
        self.store = store
        self.product_id = product_id
        self._until = time.monotonic() + timeout_s
        self._timeout_s = timeout_s

    def check(self) -> None:
        if time.monotonic() > self._until:
            raise DeadlinePassed(f"what is known was not read within {self._timeout_s:g} s; try again")

    def rows(self, key: str, columns: Sequence[str] | None = None) -> Sequence[Row]:
        """Of the product; none where the object is gone."""
        self.check()
        try:
            return rows_where(self.store, key, "product_id", [self.product_id], columns).to_pylist()
        except NotFound:
            return []

    def events(self, log: EventLog) -> Sequence[Row]:
        rows: Sequence[Row] = log.about([self.product_id], check=self.check).to_pylist()
        return rows

    def latest(
        self, table: str, key: Sequence[str], values: Collection[str], columns: Sequence[str]
    ) -> Sequence[Row]:
        self.check()
        rows: Sequence[Row] = latest_where(self.store, table, key, values, columns).to_pylist()
        self.check()
        return rows

    def held(self, manifest: Manifest) -> tuple[Row | None, frozenset[str]]:
        """The product as a generation has it, and its pictures there."""
        parts: list[Any] = [manifest, *manifest.deltas]
        for part in reversed(parts):
            if found := self.rows(part.segment("products").key, PRODUCTS.names):
                items = self.rows(part.segment("items").key, ["image_url"])
                return found[0], frozenset(str(item["image_url"]) for item in items)
            if part is not manifest and self.rows(part.segment("removed").key):
                break
        return None, frozenset()

    def manifest(self, generation: str) -> Manifest | None:
        """None of one that is pruned, or damaged."""
        try:
            return read_manifest(self.store, generation)
        except (NotFound, Unverified):
            return None

    def has(self, generation: str) -> bool:
        manifest = self.manifest(generation)
        return manifest is not None and self.held(manifest)[0] is not None


def gather(
    store: ObjectStore, environment: str, product_id: str, stock_log: StockLog | None, timeout_s: float
) -> Facts:
    """Everything that is known.

    Raises ``NotFound`` for a product that nobody ever saw, ``DeadlinePassed``, and ``Unverified`` where the
    pointer is damaged.
    """
    reading = _Reading(store, product_id, timeout_s)
    pointer = read_pointer(store, environment).pointer
    last = sightings(store).last()
    snapshot = None if last is None else last.mark
    rows = [] if snapshot is None else reading.rows(f"snapshots/{snapshot}/products.parquet")
    rejected = [] if snapshot is None else reading.rows(f"snapshots/{snapshot}/rejected.parquet")
    seen = reading.events(sightings(store))
    passed = reading.events(passages(store, environment))

    release = None if pointer is None else pointer.live
    manifest = None if release is None else reading.manifest(release.generation)
    live, urls = (None, frozenset[str]()) if manifest is None else reading.held(manifest)
    other = None if live is not None else _other(reading, release)
    if not (rows or rejected or seen or passed or live or other):
        raise NotFound(f"nobody ever saw a product {product_id!r}: no catalogue, and no generation, had it")

    row = rows[0] if rows else None
    stock, unknown = _stock(stock_log, product_id)
    places = _places(reading)
    return Facts(
        product_id=product_id,
        environment=environment,
        snapshot=snapshot,
        row=row,
        rejected=rejected,
        sightings=seen,
        passages=passed,
        pictures=_pictures(reading, (row or live or {"image_urls": []})["image_urls"], urls, manifest),
        release=release,
        live=live,
        since=next((place.since for place in places if place.environment == environment), None),
        places=places,
        other=other,
        rolled_back=None if other is None else _left(pointer.history if pointer else (), other.id),
        stock=stock,
        stock_unknown=unknown,
    )


def _other(reading: _Reading, live: Release | None) -> Manifest | None:
    """The newest generation that has the product, other than the live one."""
    for manifest in generations(reading.store)[0]:
        if live is not None and manifest.id == live.generation:
            continue
        if reading.held(manifest)[0] is not None:
            return manifest
    return None


def _left(history: Sequence[Release], generation: str) -> Release | None:
    """The roll-back that left ``generation``, unless it was released again since."""
    for release in history:
        if release.generation == generation:
            return None
        if release.rolled_back_from == generation:
            return release
    return None


def _places(reading: _Reading) -> list[Place]:
    found = []
    for environment in environments(reading.store):
        try:
            pointer = read_pointer(reading.store, environment).pointer
        except Unverified:
            continue
        if pointer is None:
            continue
        since = None
        for release in pointer.history:
            if not reading.has(release.generation):
                break
            since = release.at
        # Releases that the pointer forgot, or of generations that are pruned, are in the ledger.
        for event in reversed(reading.events(passages(reading.store, environment)) if since else []):
            if event["change"] == "went":
                break
            if event["change"] == "came":
                since = min(since or 0.0, seconds(event["at"]) or 0.0)
                break
        found.append(
            Place(
                environment=environment,
                generation=pointer.live.generation,
                released_at=pointer.live.at,
                searchable=since is not None,
                since=since,
            )
        )
    return found


def _stock(stock_log: StockLog | None, product_id: str) -> tuple[StockState | None, str | None]:
    if stock_log is None:
        return None, None
    try:
        return stock_log.of(product_id), None
    except Unavailable as error:
        return None, str(error)


def _pictures(
    reading: _Reading, urls: Sequence[str], live: Collection[str], manifest: Manifest | None
) -> list[PictureState]:
    store = reading.store
    columns = ["url", "status", "reason", "http_status", "sha256", "fetched_at", "attempts", "retry_after"]
    fetches = {row["url"]: row for row in reading.latest("fetches", ["url"], urls, columns)}
    shas = [row["sha256"] for row in fetches.values() if row["sha256"]]
    seen_by = _version(store, detector.NAME) or (manifest and manifest.detector)
    made_by = _version(store, embedder.NAME) or (manifest and manifest.embedder)
    boxes = reading.latest(f"detections/{seen_by}", ["sha256"], shas, ["sha256", "status", "reason", "boxes"])
    vectors = reading.latest(f"embeddings/{made_by}", ["sha256", "box"], shas, ["sha256", "status", "reason"])
    detected = {row["sha256"]: row for row in boxes}
    # One good part of a picture is enough to find it by.
    embedded = {row["sha256"]: row for row in sorted(vectors, key=lambda row: row["status"] == "ok")}
    nothing: Row = {}
    found = []
    for url in dict.fromkeys(urls):
        fetch = fetches.get(url, nothing)
        box, vector = (of.get(fetch.get("sha256"), nothing) for of in (detected, embedded))
        found.append(
            PictureState(
                image_url=url,
                fetched=_state(fetch),
                reason=fetch.get("reason"),
                http_status=fetch.get("http_status"),
                attempts=fetch.get("attempts", 0),
                fetched_at=seconds(fetch.get("fetched_at")),
                retry_at=seconds(fetch.get("retry_after")),
                detected=_state(box),
                detected_reason=box.get("reason"),
                detected_at=seconds(box.get("written_at")),
                items=len(box.get("boxes") or ()),
                embedded=_state(vector),
                embedded_reason=vector.get("reason"),
                embedded_at=seconds(vector.get("written_at")),
                searchable=url in live,
            )
        )
    return found


def _version(store: ObjectStore, name: str) -> str | None:
    try:
        return live_version(store, name)
    except (NotFound, Unverified):
        return None


def _state(row: Row) -> State:
    status = row.get("status")
    return "waiting" if status is None else "done" if status == "ok" else "failed"


def seconds(at: datetime | None) -> float | None:
    """Seconds since 1970."""
    return None if at is None else at.timestamp()
