"""How well shoppers' pictures find their products, asked as shoppers ask: through the HTTP API."""

import asyncio
from collections.abc import Sequence

import aiohttp

from imgsearch_assets.progress import Advance
from imgsearch_assets.sample.evaluate import PictureQuery, recall_at
from serving.errors import Unavailable

# Uploads in flight: enough to keep detect and embed busy, few enough to measure answers, not queues.
_AT_ONCE = 2
_TIMEOUT_S = 60.0


async def _ranked(session: aiohttp.ClientSession, picture: bytes, k: int) -> list[str]:
    form = aiohttp.FormData()
    form.add_field("image", picture, filename="query.jpg", content_type="image/jpeg")
    form.add_field("k", str(k))
    form.add_field("collapse", "product")  # how products are found, not which of a group is shown
    form.add_field("filters", '{"in_stock_only": false}')  # nor which can be bought today
    async with session.post("/v1/search/image", data=form) as reply:
        body = await reply.json()
        if reply.status != 200:
            raise Unavailable(f"the API answered a picture with {reply.status}: {body['error']['message']}")
        return [hit["product_id"] for hit in body["results"]]


async def _recall(api: str, queries: Sequence[PictureQuery], k: int, advance: Advance) -> float:
    gate = asyncio.Semaphore(_AT_ONCE)
    async with aiohttp.ClientSession(api, timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S)) as session:

        async def asked(picture: bytes) -> list[str]:
            async with gate:
                ranked = await _ranked(session, picture, k)
            advance(1)
            return ranked

        ranked_ids = await asyncio.gather(*(asked(picture) for picture, _ in queries))
    return recall_at(k, ranked_ids, [product_id for _, product_id in queries])


def recall_through_api(api: str, queries: Sequence[PictureQuery], k: int, advance: Advance) -> float:
    """The share of ``queries`` whose product is among the first ``k`` that the API at ``api`` answers.

    Raises ``Unavailable`` when the API refuses a picture.
    """
    return asyncio.run(_recall(api, queries, k, advance))
