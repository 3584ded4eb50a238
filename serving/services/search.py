"""The search service: checks what it is asked, searches the current generation, fills in the products."""

import asyncio
import math
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from serving.errors import BadInput, Conflict, ImgsearchError, ModelMismatch
from serving.index.after import After
from serving.index.collapse import Collapse
from serving.index.filters import FACETS, IN_STOCK, Filter
from serving.index.generation import NORM_TOLERANCE
from serving.proto import search_pb2, search_pb2_grpc
from serving.rpc.unary import Context
from serving.services import wire
from serving.services.batching import Batcher
from serving.services.searchable import About, Asked, Searchable, Source, StockState
from serving.settings import Settings

_RESULTS = search_pb2.SearchReply.DESCRIPTOR.fields_by_name["results"].number
_FLOAT32 = np.dtype("<f4")
# Filters that say nothing, and that ask for what is in stock alone.
_NOTHING = b""
_STOCK_ALONE = search_pb2.Filter(in_stock_only=True).SerializeToString()
# The chosen box of a picture, the whole, and as much again; a page of products.
_QUICK_ROWS, _QUICK_K = 4, 50
# Fewer of them at once are made on the event loop: health and all others wait for as long as these take.
_TOGETHER = 64

_COLLAPSE: dict[int, Collapse] = {
    search_pb2.COLLAPSE_PRODUCT: "product",
    search_pb2.COLLAPSE_VARIANT: "variant",
    search_pb2.COLLAPSE_PICTURE: "picture",
}


class SearchServicer(search_pb2_grpc.SearchServicer):
    """``executor`` runs what may take long.

    Small searches of a graph in memory, which are nearly all, are made many at once: on the event loop, while
    that keeps up.
    """

    def __init__(self, holder: Source, settings: Settings, executor: Executor) -> None:
        self._holder = holder
        self._settings = settings
        self._executor = executor
        self._small = Batcher(self._search_small, _TOGETHER, executor)

    async def Search(  # type: ignore[override]  # encoded; see rpc.unary
        self, request: search_pb2.SearchRequest, context: Context
    ) -> bytes:
        index = self._holder.current()
        if index.quick and _is_small(request):
            return await self._small.ask((index, request))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._search, index, request)

    def _search(self, index: Searchable, request: search_pb2.SearchRequest) -> bytes:
        _check_count("queries", len(request.queries), self._settings.max_batch)
        asked = [self._asked(index.about, request, query) for query in request.queries]
        stock = index.stock  # before the search, which may find a later state, but no earlier one
        return _reply(index.about, stock, index.search(asked))

    def _search_small(
        self, requests: Sequence[tuple[Searchable, search_pb2.SearchRequest]]
    ) -> list[bytes | Exception]:
        """The reply to each, or what is wrong with it. Queries of one generation are searched at once."""
        told: dict[int, bytes | Exception] = {}
        by_index: dict[int, tuple[Searchable, dict[int, Asked]]] = {}  # more than one during a swap
        for number, (index, request) in enumerate(requests):
            _, asked = by_index.setdefault(id(index), (index, {}))
            try:
                asked[number] = self._asked(index.about, request, request.queries[0])
            except ImgsearchError as error:
                told[number] = error.with_traceback(None)  # which would hold this frame, and all it has
        for index, asked in by_index.values():
            stock = index.stock
            results = index.search(list(asked.values()))
            told |= {
                number: _reply(index.about, stock, [one]) for number, one in zip(asked, results, strict=True)
            }
        return [told[number] for number in range(len(requests))]

    def _asked(self, about: About, request: search_pb2.SearchRequest, query: search_pb2.Query) -> Asked:
        if not 1 <= query.k <= self._settings.max_k:
            raise BadInput(f"k is {query.k}; it must be 1 to {self._settings.max_k}")
        if query.collapse not in _COLLAPSE:  # of a newer caller
            raise BadInput(f"collapse {query.collapse} is not known here; 0 to {len(_COLLAPSE) - 1} are")
        after = self._after(about, query) if query.HasField("after") else None
        if query.product_id and query.vectors:
            raise BadInput("a query has vectors or a product_id, not both")
        said = _said(query)
        wanted = (
            None if said == _NOTHING else IN_STOCK if said == _STOCK_ALONE else self._filter(query.filter)
        )
        xq = None if query.product_id else self._vectors(about, request, query)
        collapse = _COLLAPSE[query.collapse]
        return Asked(xq, query.product_id, query.k, wanted, collapse, after, self._settings.max_depth)

    def _after(self, about: About, query: search_pb2.Query) -> After:
        after, most = query.after, self._settings.max_depth
        if after.generation != about.generation:
            raise Conflict("the index has moved on; search again from the first page")
        if after.shown + query.k > most:
            raise BadInput(f"after: {after.shown} were shown and k is {query.k}; at most {most} in all")
        return After(after.score, frozenset(after.tied), after.shown)

    def _vectors(
        self, about: About, request: search_pb2.SearchRequest, query: search_pb2.Query
    ) -> NDArray[np.float32]:
        """The unit rows of a query, float32 (n, dim)."""
        if not request.embedder_version:
            raise BadInput("embedder_version is missing: it says which model made the vectors")
        if request.embedder_version != about.embedder:
            raise ModelMismatch(
                f"the vectors are of embedder {request.embedder_version}, "
                f"generation {about.generation} is of {about.embedder}"
            )
        if request.dim != about.dim:
            raise BadInput(f"dim is {request.dim}; vectors of embedder {about.embedder} have {about.dim}")
        vectors = query.vectors  # a copy each time it is asked for
        if not vectors:
            raise BadInput("a query has neither vectors nor a product_id")
        if len(vectors) % (4 * about.dim):
            raise BadInput(f"vectors: {len(vectors)} bytes are no whole number of rows of {4 * about.dim}")
        xq = np.frombuffer(vectors, _FLOAT32).reshape(-1, about.dim)
        if len(xq) == 1:  # by far the most
            length = math.sqrt(np.vdot(xq, xq))
            if abs(length - 1) <= NORM_TOLERANCE:
                return xq / np.float32(length)
        _check_count("vectors", len(xq), self._settings.max_batch)
        lengths = np.sqrt(np.einsum("nd,nd->n", xq, xq))
        off = np.abs(lengths - 1)
        if not off.max() <= NORM_TOLERANCE:  # nor when it is no number
            if not np.isfinite(xq).all():
                raise BadInput("vectors: a number is not finite")
            wrong = float(lengths[np.argmax(off)])
            raise BadInput(f"vectors: a row has length {wrong:.4g}; rows must have unit length")
        return xq / lengths[:, None]  # type: ignore[no-any-return]

    def _filter(self, asked: search_pb2.Filter) -> Filter:
        lists: dict[str, Sequence[str]] = {
            "categories": asked.categories,
            "brands": asked.brands,
            "colours": asked.colours,
            "excluded_product_ids": asked.excluded_product_ids,
        }
        for name, values in lists.items():
            if len(values) > self._settings.max_filter_values:
                raise BadInput(
                    f"filter: {name} has {len(values)} values; at most {self._settings.max_filter_values}"
                )
        return Filter(
            category=frozenset(asked.categories),
            brand=frozenset(asked.brands),
            colour=frozenset(asked.colours),
            price_min=asked.price_min if asked.HasField("price_min") else None,
            price_max=asked.price_max if asked.HasField("price_max") else None,
            in_stock_only=asked.in_stock_only,
            excluded=frozenset(asked.excluded_product_ids),
        )

    async def GetProducts(
        self, request: search_pb2.GetProductsRequest, context: Context
    ) -> search_pb2.GetProductsReply:
        index = self._holder.current()
        _check_count("product_ids", len(request.product_ids), self._settings.max_k)
        stock = index.stock  # before the products, which may be of a later state, but of no earlier one
        return search_pb2.GetProductsReply(
            products=index.products(request.product_ids),
            generation=index.about.generation,
            stock_version=stock.version,
            stock_followed=stock.followed,
        )

    async def Explain(self, request: search_pb2.ExplainRequest, context: Context) -> search_pb2.ExplainReply:
        index = self._holder.current()
        loop, stock = asyncio.get_running_loop(), index.stock
        reply = await loop.run_in_executor(self._executor, index.explain, request.product_id, request.like)
        reply.stock_version, reply.stock_followed = stock.version, stock.followed
        return reply

    async def Status(self, request: search_pb2.StatusRequest, context: Context) -> search_pb2.StatusReply:
        reply = search_pb2.StatusReply()
        failure = self._holder.failure
        if failure is not None:
            reply.failed_generation, reply.last_error = failure.generation, failure.reason
            reply.stale = True
        index = self._holder.loaded
        if index is not None:
            about = index.about
            values = {name: [value for value in index.values(name) if value] for name in FACETS}
            served = search_pb2.StatusReply(
                generation=about.generation,
                embedder_version=about.embedder,
                detector_version=about.detector,
                dim=about.dim,
                products=about.products,
                rows=about.rows,
                created_at=about.created_at,
                age_s=time.time() - about.created_at,
                categories=values["category"],
                brands=values["brand"],
                colours=values["colour"],
                stock_version=index.stock.version,
                stock_followed=index.stock.followed,
            )
            reply.MergeFrom(served)
        return reply


def _reply(about: About, stock: StockState, results: list[bytes]) -> bytes:
    """An encoded ``SearchReply`` of encoded ``Result``s."""
    parts: list[bytes] = []
    for result in results:
        parts += (wire.head(_RESULTS, len(result)), result)
    return b"".join([*parts, _rest(about.generation, about.embedder, *stock)])


@lru_cache(16)
def _rest(generation: str, embedder: str, stock_version: str, stock_followed: bool) -> bytes:
    """What a ``SearchReply`` says beside its results."""
    return search_pb2.SearchReply(
        generation=generation,
        embedder_version=embedder,
        stock_version=stock_version,
        stock_followed=stock_followed,
    ).SerializeToString()


def _is_small(request: search_pb2.SearchRequest) -> bool:
    """One query, of few vectors or of a product, for a page of all or of what is in stock: as nearly all."""
    if len(request.queries) != 1:
        return False
    query = request.queries[0]
    if query.k > _QUICK_K or _said(query) not in (_NOTHING, _STOCK_ALONE) or query.HasField("after"):
        return False
    return len(query.vectors) <= _QUICK_ROWS * 4 * request.dim


def _said(query: search_pb2.Query) -> bytes:
    """The filter, encoded. One that says nothing keeps everything, as none does."""
    return query.filter.SerializeToString() if query.HasField("filter") else _NOTHING


def _check_count(name: str, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise BadInput(f"{name}: there are {count}; 1 to {most} are taken")
