"""The last look at an answer, before it goes out: nothing that is sold out by now.

The search service follows the stock, and says which state of it an answer keeps to while that is fresh. A
look here would then be into the same Redis, half a second later, and would take longer than a kept answer. So
it is made where the service cannot say so: it does not reach Redis, or its index is in Milvus.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson

from serving.api.answer import Answered
from serving.api.backends import Backends
from serving.api.clock import Clock
from serving.api.schemas import product_fields
from serving.errors import ImgsearchError
from serving.proto import search_pb2


async def looked_after(answer: Answered, in_stock_only: bool, backends: Backends, clock: Clock) -> Answered:
    """With what is in stock now; where that alone is wanted without the rest, so of fewer than ``k``.

    A group whose best is sold out is shown by the next of it that is not.
    """
    if answer.followed:
        return answer
    body = orjson.loads(answer.body)
    matches: list[dict[str, Any]] = body["results"]
    names = [name for match in matches for name in (match["product_id"], *match["also"])]
    asked: dict[str, Any] | None = body["product"]
    now = await backends.stock_of([*names, *([asked["product_id"]] if asked else [])])
    if not now:
        return answer
    for one in [*matches, *([asked] if asked else [])]:
        one["in_stock"] = now.get(one["product_id"], one["in_stock"])
    if in_stock_only:
        for match in matches:
            match["also"] = [name for name in match["also"] if now.get(name, True)]
        body["results"] = await _in_stock(matches, now, backends, clock)
    return replace(answer, body=orjson.dumps(body))


async def _in_stock(
    matches: list[dict[str, Any]], now: Mapping[str, bool], backends: Backends, clock: Clock
) -> list[dict[str, Any]]:
    """Those that are, and in the place of those that are not the next of their groups.

    Such a one has the score of the best of its group, its own first picture, and no box: which of its
    pictures matched, where and how well, is not known here.
    """
    next_ids = [match["also"][0] for match in matches if match["also"] and not match["in_stock"]]
    reply = search_pb2.GetProductsReply()
    if next_ids:
        with suppress(ImgsearchError):  # then those groups are left out: the rest is an answer still
            reply = await backends.products(next_ids, clock)
    found = {product.product_id: product_fields(product) for product in reply.products}
    shown = []
    for match in matches:
        if not match["in_stock"] and match["also"] and (other := found.get(match["also"][0])) is not None:
            held = now.get(other["product_id"], other["in_stock"])
            match |= other | {"in_stock": held, "box": None, "also": match["also"][1:]}
        if match["in_stock"]:
            shown.append(match)
    return shown


async def stocked(product: search_pb2.Product, followed: bool, backends: Backends) -> None:
    """Has ``product`` say whether it is in stock now, where the service that told of it does not follow."""
    if not followed:
        now = await backends.stock_of([product.product_id])
        product.in_stock = now.get(product.product_id, product.in_stock)
