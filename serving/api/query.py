"""From what a person shows to products: the one flow behind every search route.

    picture   -> header check -> kept a while, else Detect -> box -> Embed [box, whole picture] -> Search
    URL       -> feature store, else fetch and as a picture; what was computed is stored
    product   -> Search, with the index's own vectors
    words     -> EmbedText -> Search

A person's own box is searched alone and needs no detection first, so the two run side by side.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.api.answer import Answered, answered
from serving.api.backends import Backends
from serving.api.clock import Clock
from serving.api.paging import FIRST, Page
from serving.api.schemas import BoxFields, FoundBox
from serving.api.seeing import Features, see
from serving.cache.features import CachedFeatures
from serving.images.box import Box
from serving.images.decode import inspect
from serving.index.collapse import Collapse
from serving.proto import search_pb2


@dataclass(frozen=True, slots=True)
class Wanted:
    """What every kind of search can ask for."""

    filter: search_pb2.Filter
    k: int
    box: Box | None = None
    collapse: Collapse = "product"
    page: Page = FIRST

    @property
    def key(self) -> bytes:
        """Equal exactly for those who want the same of the same."""
        after = self.page.after
        which = b"" if after is None else after.SerializeToString(deterministic=True)
        return self.page.asked + self.k.to_bytes(4, "little") + which

    def query(self, **source: Any) -> search_pb2.Query:
        """With ``vectors``, or of a ``product_id``."""
        collapse = search_pb2.Collapse.Value(f"COLLAPSE_{self.collapse.upper()}")
        after = self.page.after
        return search_pb2.Query(filter=self.filter, k=self.k, collapse=collapse, after=after, **source)


async def by_picture(backends: Backends, data: bytes, wanted: Wanted, clock: Clock) -> Answered:
    """Products like what is on the picture. Raises ``BadImage`` and what the services raise."""
    await _check(backends, data)

    async def attempt(embedder: str) -> Answered:
        features = await see(backends, data, wanted.box, embedder, clock)
        return await _by_features(backends, features, wanted, clock)

    return await backends.of_the_served(attempt, clock)


async def by_url(backends: Backends, url: str, wanted: Wanted, clock: Clock) -> Answered:
    """The same for the picture at ``url``. Raises ``BadAddress`` where it will or can not be fetched."""

    async def attempt(embedder: str) -> Answered:
        with clock.stage("features"):
            stored = await backends.stored_url(embedder, url)
        features = None if stored is None else _of_stored(stored, embedder, wanted.box)
        if features is None:
            with clock.stage("fetch"):
                data = await backends.fetch(url)
            await _check(backends, data)
            features = await see(backends, data, wanted.box, embedder, clock)
            if wanted.box is None:
                boxes = [Box.whole()] if features.chosen is None else [features.chosen, Box.whole()]
                kept = CachedFeatures(tuple(boxes), features.vectors).as_kept()
                features = replace(features, vectors=kept.vectors)
                backends.store_url(embedder, url, kept)
        return await _by_features(backends, features, wanted, clock)

    return await backends.of_the_served(attempt, clock)


async def by_text(backends: Backends, text: str, wanted: Wanted, clock: Clock) -> Answered:
    """Products that look like what ``text`` says. Raises ``TextSearchOff`` where the embedder reads none."""

    async def attempt(embedder: str) -> Answered:
        with backends.pace.place(), clock.stage("embed"):
            vectors = await backends.embed_texts([text], embedder, clock)
        features = Features(vectors, embedder, None, [], None, "computed")
        return await _by_features(backends, features, wanted, clock)

    return await backends.of_the_served(attempt, clock)


async def by_product(backends: Backends, product_id: str, wanted: Wanted, clock: Clock) -> Answered:
    """Products like this one, without it. Raises ``NotFound`` when the generation does not hold it."""
    request = search_pb2.SearchRequest(queries=[wanted.query(product_id=product_id)])
    with clock.stage("search"):
        reply = await backends.search(request, clock)
    return answered(reply, "index", wanted.collapse, next_cursor=wanted.page.following(reply))


async def _check(backends: Backends, data: bytes) -> None:
    """Raise ``BadImage`` before anybody is asked anything."""
    limits = backends.settings.max_picture_bytes, backends.settings.max_picture_pixels
    # Beside the event loop, which others wait for: what a picture says of itself can take 50 ms to read.
    await asyncio.to_thread(lambda: inspect(data, max_bytes=limits[0], max_pixels=limits[1]))


def _of_stored(stored: CachedFeatures, embedder: str, box: Box | None) -> Features | None:
    """Stored features as a query; None when they lack the box that a person chose."""
    items = [item for item in stored.boxes if item != Box.whole()]
    if box is None:
        vectors, chosen = stored.vectors, next(iter(items), None)
    elif box in stored.boxes:
        row = stored.boxes.index(box)
        vectors, chosen = stored.vectors[row : row + 1], box
    else:
        return None
    found = [FoundBox(box=BoxFields.of(item), category=None, score=None) for item in items]
    return Features(vectors, embedder, None, found, chosen, "stored")


async def _by_features(backends: Backends, features: Features, wanted: Wanted, clock: Clock) -> Answered:
    query = wanted.query(vectors=packed(features.vectors))
    dim = features.vectors.shape[1]
    request = search_pb2.SearchRequest(queries=[query], dim=dim, embedder_version=features.embedder)
    with clock.stage("search"):
        reply = await backends.search(request, clock)
    return answered(
        reply,
        features.source,
        wanted.collapse,
        boxes=features.boxes,
        chosen=features.chosen,
        detector=features.detector,
        next_cursor=wanted.page.following(reply),
    )


def packed(vectors: NDArray[np.float32]) -> bytes:
    """float32 (n, d) -> n * d * 4 little-endian bytes, row-major, as ``search.proto`` wants them."""
    return np.ascontiguousarray(vectors, dtype="<f4").tobytes()
