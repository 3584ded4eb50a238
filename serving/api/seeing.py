"""What is seen on a picture: the items, and the vectors of the parts that are searched with.

Looked up by the picture's SHA-256 first: the next page of a search, another filter or another part of the
same picture touches a network only for what nobody looked at before.
"""

import asyncio
import hashlib
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from serving.api.backends import Backends
from serving.api.clock import Clock
from serving.api.schemas import BoxFields, FoundBox
from serving.cache.features import picture_key
from serving.cache.pictures import Item, PictureFeatures
from serving.images.box import Box

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Features:
    """What a search is made with: unit rows float32 (n, d), and where they come from."""

    vectors: NDArray[np.float32]
    embedder: str
    detector: str | None
    boxes: list[FoundBox]
    chosen: Box | None
    source: Literal["computed", "stored"]


async def see(backends: Backends, data: bytes, box: Box | None, embedder: str, clock: Clock) -> Features:
    """The vectors of [best box, whole picture], or of ``box`` alone.

    Raises what the services raise, and ``Overloaded`` where they have no time for it.
    """
    if not backends.keeps_pictures:
        with backends.pace.place():
            seen, detector = await _seen(backends, data, box, embedder, clock)
        return _features(seen, box, embedder, detector, "computed")
    digest = hashlib.sha256(data).hexdigest()
    with clock.stage("features"):
        detector = await backends.detector(clock)
        kept = await backends.stored_picture(picture_key(embedder, detector, digest))
    if kept is None:
        with backends.pace.place():
            seen, detector = await _seen(backends, data, box, embedder, clock)
    else:
        lacking = [part for part in _parts(kept, box) if part not in kept.parts]
        if not lacking:
            return _features(kept, box, embedder, detector, "stored")
        with backends.pace.place():
            seen = kept.having(await _embed(backends, data, lacking, embedder, clock))
    backends.store_picture(picture_key(embedder, detector, digest), seen)
    return _features(seen, box, embedder, detector, "computed")


def _parts(seen: PictureFeatures, box: Box | None) -> list[Box]:
    if box is not None:
        return [box]
    return list(dict.fromkeys([*(item.box for item in seen.items[:1]), Box.whole()]))


def _features(
    seen: PictureFeatures,
    box: Box | None,
    embedder: str,
    detector: str,
    source: Literal["computed", "stored"],
) -> Features:
    rows = np.stack([seen.parts[part] for part in _parts(seen, box)])
    found = [
        FoundBox(box=BoxFields.of(item.box), category=item.category, score=item.score) for item in seen.items
    ]
    chosen = box or next((item.box for item in seen.items), None)
    return Features(rows, embedder, detector, found, chosen, source)


async def _seen(
    backends: Backends, data: bytes, box: Box | None, embedder: str, clock: Clock
) -> tuple[PictureFeatures, str]:
    """By both networks, and the detector's version."""
    if box is None:
        items, detector = await _detect(backends, data, clock)
        seen = PictureFeatures(items, {})
        return seen.having(await _embed(backends, data, _parts(seen, box), embedder, clock)), detector
    (items, detector), rows = await _together(
        _detect(backends, data, clock), _embed(backends, data, [box], embedder, clock)
    )
    return PictureFeatures(items, rows), detector


async def _detect(backends: Backends, data: bytes, clock: Clock) -> tuple[tuple[Item, ...], str]:
    with clock.stage("detect"):
        detections, detector = await backends.detect(data, clock)
    items = (Item(BoxFields.of(one.box).box(), one.category, round(one.score, 4)) for one in detections)
    return tuple(items), detector


async def _embed(
    backends: Backends, data: bytes, boxes: list[Box], embedder: str, clock: Clock
) -> dict[Box, NDArray[np.float32]]:
    with clock.stage("embed"):
        return dict(zip(boxes, await backends.embed(data, boxes, embedder, clock), strict=True))


async def _together(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Both results; the first failure cancels the other and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            one, other = group.create_task(first), group.create_task(second)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return one.result(), other.result()
