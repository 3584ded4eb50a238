"""The last look at an answer, before it goes out: nothing that is sold out by now.

The search service follows the stock, and says which state of it an answer keeps to while that is fresh. A
look here would then be into the same Redis, half a second later, and would take longer than a kept answer. So
it is made where the service cannot say so: it does not reach Redis, or its index is in Milvus.
"""

from dataclasses import replace
from typing import Any

import orjson

from serving.api.answer import Answered
from serving.api.backends import Backends


async def looked_after(answer: Answered, in_stock_only: bool, backends: Backends) -> Answered:
    """With what is in stock now; where that alone is wanted without the rest, so of fewer than ``k``."""
    if answer.followed:
        return answer
    body = orjson.loads(answer.body)
    matches: list[dict[str, Any]] = body["results"]
    names = [name for match in matches for name in (match["product_id"], *match["also"])]
    now = await backends.stock_of(names)
    if not now:
        return answer
    for match in matches:
        match["in_stock"] = now.get(match["product_id"], match["in_stock"])
        if in_stock_only:
            match["also"] = [name for name in match["also"] if now.get(name, True)]
    body["results"] = [match for match in matches if match["in_stock"] or not in_stock_only]
    return replace(answer, body=orjson.dumps(body))
