"""Golden products asked for through the public API, as a shopper's browser does, right after a release.

What is right is known from the generation itself: a product's picture has to find it, or one of its picture
group; a product has to find what is nearest to it; and every answer has to be of this generation.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np

from serving.errors import Unverified
from serving.index.loaded import Generation
from serving.index.search import search

_GOLDEN, _K = 8, 10
# Scores that are the same but for what float16 and a graph do to them.
_EQUAL = 0.01
# A front that has just been told of a generation answers with the former for a second; proxies retry.
PATIENCE_S = 15.0
_AGAIN_S = 0.25
_ANSWER_S = 5.0


@dataclass(frozen=True)
class Golden:
    """A product, one of its pictures, the products that this picture shows, and how near the nearest is."""

    product_id: str
    image_url: str
    own: frozenset[str]
    nearest: float | None  # cosine; None where there is no other product


@dataclass(frozen=True)
class Smoke:
    """How many queries were answered rightly, and the median and the longest of their times."""

    queries: int
    median_ms: float
    longest_ms: float


def golden_of(generation: Generation) -> list[Golden]:
    """Some products, spread over the generation."""
    present, grouping = generation.present(), generation.groupings["picture"]
    places = present[np.unique(np.linspace(0, len(present) - 1, _GOLDEN).astype(int))]
    return [
        _golden(generation, place, grouping.others(place, generation.alive).tolist())
        for place in places.tolist()
    ]


def _golden(generation: Generation, place: int, others: Sequence[int]) -> Golden:
    hits = search(generation, generation.vectors(place), 2).hits
    scores = [hit.score for hit in hits if hit.product != place]
    return Golden(
        generation.id_of(place),
        str(generation.items["image_url"][generation.first_row(place)]),
        frozenset(generation.id_of(one) for one in (place, *others)),
        max(scores, default=None),
    )


async def ask(
    api_url: str, key: str | None, generation: str, golden: Sequence[Golden], patience_s: float = PATIENCE_S
) -> Smoke:
    """Ask the API at ``api_url`` for each of ``golden``, by product and by picture, one after the other.

    What is not right is asked again for ``patience_s`` altogether. Raises ``Unverified`` naming what is wrong
    then.
    """
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    timeout, wrong, times = aiohttp.ClientTimeout(total=_ANSWER_S), list[str](), list[float]()
    deadline = time.monotonic() + patience_s
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        for one in golden:
            for source in ({"product_id": one.product_id}, {"image_url": one.image_url}):
                url = f"{api_url.rstrip('/')}/v1/search"
                while True:
                    started = time.monotonic()
                    reason = await _asked(session, url, source, generation, one)
                    times.append((time.monotonic() - started) * 1000)
                    if reason is None or time.monotonic() > deadline:
                        break
                    await asyncio.sleep(_AGAIN_S)
                if reason is not None:
                    wrong.append(f"{' '.join(source)} of {one.product_id}: {reason}")
    asked = 2 * len(golden)
    if wrong:
        raise Unverified(
            f"{len(wrong)} of {asked} golden queries are not answered rightly by {api_url} ({wrong[0]})"
        )
    return Smoke(asked, round(float(np.median(times)), 1), round(max(times), 1))


async def _asked(
    session: aiohttp.ClientSession, url: str, source: Mapping[str, str], generation: str, golden: Golden
) -> str | None:
    """Why an answer is not right, None when it is."""
    by_product = "product_id" in source
    body = {
        **source,
        "k": _K,
        "filters": {"in_stock_only": False},  # how products are found, not which can be bought today
        "collapse": "product" if by_product else "picture",
    }
    try:
        async with session.post(url, json=body) as reply:
            said = await reply.json()
            if reply.status != 200:
                return f"status {reply.status}: {said['error']['message']}"
            if said["generation"] != generation:
                return f"the answer is of generation {said['generation']}"
            return _wrong_product(said, golden) if by_product else _wrong_picture(said, golden)
    except (aiohttp.ClientError, TimeoutError) as error:
        return f"no answer: {str(error) or type(error).__name__}"
    except (KeyError, TypeError, ValueError):
        return "the answer is not one of this API"


def _wrong_product(said: dict[str, Any], golden: Golden) -> str | None:
    if said["product"]["product_id"] != golden.product_id:
        return f"the answer is of product {said['product']['product_id']}"
    best = said["results"][0]["score"] if said["results"] else None
    if golden.nearest is None:
        return None if best is None else "products are found where there is no other"
    if best is None or abs(best - golden.nearest) > _EQUAL:
        return f"the nearest product has a score of {best}, in the index {golden.nearest:.4f}"
    return None


def _wrong_picture(said: dict[str, Any], golden: Golden) -> str | None:
    if not said["results"]:
        return "nothing is found"
    first = said["results"][0]
    if first["product_id"] in golden.own or first["score"] > 1 - _EQUAL:
        return None
    return f"{first['product_id']} is found first, with a score of {first['score']}"
