"""Answers that a caller has already: ETag and If-None-Match (RFC 9110, 8.8.3 and 13.1.2).

A tag is made of what an answer depends on, not of the answer: so whoever has it is told without a search. It
is weak, as two answers to the same differ by their timings.
"""

import hashlib

from starlette.datastructures import Headers
from starlette.responses import Response

from serving.api.backends import Backends
from serving.api.clock import Clock
from serving.proto import search_pb2

# A browser that goes back asks nobody; a change of stock or price is seen soon.
CACHE_CONTROL = "private, max-age=10"

# Of what is written; raised when the same question is answered in another form.
_LAYOUT = "1"


def weak(generation: str, stock: str | None, *asked: str | bytes) -> str | None:
    """Of an answer to what was ``asked``, from ``generation`` and that state of the stock.

    None where nobody follows the stock (``stock`` is None): then nobody can say that it is still the same.
    """
    if stock is None:
        return None
    hashed = hashlib.blake2b(digest_size=16)
    for part in (_LAYOUT, generation, stock, *asked):
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        hashed.update(len(data).to_bytes(4, "little") + data)
    return f'W/"{hashed.hexdigest()}"'


def strong(body: bytes) -> str:
    """Of what is the same for everybody, to the byte."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def of_reply(reply: search_pb2.GetProductsReply | search_pb2.ExplainReply, *asked: str) -> str | None:
    """The tag of what ``reply`` says, which another replica than ``of_now`` asked may have given."""
    return weak(reply.generation, reply.stock_version if reply.stock_followed else None, *asked)


def headers(tag: str | None) -> dict[str, str]:
    return {"Cache-Control": CACHE_CONTROL} | ({} if tag is None else {"ETag": tag})


def unchanged(asked: Headers, tag: str | None) -> Response | None:
    """What to answer who has it, None for who has not."""
    if tag is None:
        return None
    wanted = tag.removeprefix("W/")
    given = ",".join(asked.getlist("if-none-match")).split(",")
    if any(one.strip().removeprefix("W/") == wanted for one in given):
        return Response(status_code=304, headers=headers(tag))
    return None


async def of_now(backends: Backends, clock: Clock, *asked: str | bytes) -> str | None:
    """The tag of an answer to what is ``asked``, if it is made from now on. Raises as ``Backends.served``."""
    served = await backends.served_lately(clock)
    return weak(served.generation, served.stock_version if served.stock_followed else None, *asked)
