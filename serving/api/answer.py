"""From a reply of the search service to the JSON of an answer (``schemas.Answer`` describes it).

Written field by field: to build models of a page of products and to have them written took a quarter of a
product query's time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from serving.api.schemas import FeaturesFrom, FoundBox, product_fields, sides
from serving.images.box import Box
from serving.index.collapse import Collapse
from serving.proto import search_pb2


@dataclass(frozen=True, slots=True)
class Answered:
    """``body`` is the JSON object but for what belongs to one request alone.

    ``followed``: the state of the ``stock`` that it keeps to is that of the last seconds.
    """

    generation: str
    stock: str
    followed: bool
    features: FeaturesFrom
    body: bytes


def answered(
    reply: search_pb2.SearchReply,
    features: FeaturesFrom,
    collapse: Collapse,
    *,
    boxes: Sequence[FoundBox] = (),
    chosen: Box | None = None,
    detector: str | None = None,
    next_cursor: str | None = None,
) -> Answered:
    """Of a reply to one query."""
    (result,) = reply.results
    product = result.product if result.HasField("product") else None
    answer = {
        "results": [_match(hit) for hit in result.hits],
        "boxes": [found.model_dump() for found in boxes],
        "chosen_box": None if chosen is None else sides(chosen),
        "product": None if product is None else product_fields(product),
        "generation": reply.generation,
        "models": {"detector": detector, "embedder": reply.embedder_version},
        "stock": reply.stock_version,
        "plan": result.plan,
        "collapse": collapse,
        "exhausted": result.exhausted,
        "next_cursor": next_cursor,
        "features": features,
    }
    body = orjson.dumps(answer)
    return Answered(reply.generation, reply.stock_version, reply.stock_followed, features, body)


def whole(body: bytes, cached: bool, timings_ms: Mapping[str, float]) -> bytes:
    """The ``body`` of an ``Answered`` with what belongs to this request."""
    return body[:-1] + b"," + orjson.dumps({"cached": cached, "timings_ms": timings_ms})[1:]


def _match(hit: search_pb2.Hit) -> dict[str, Any]:
    match = product_fields(hit.product, hit.image_url)
    match["score"] = round(hit.score, 4)
    match["box"] = sides(hit.box) if hit.HasField("box") else None
    match["also"] = list(hit.also_product_ids)
    return match
