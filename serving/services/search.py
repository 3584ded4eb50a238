"""The search service: checks what it is asked, searches the current generation, fills in the products."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.errors import BadInput, ModelMismatch, NotFound
from serving.index.artifact import Generation
from serving.index.collapse import Collapse
from serving.index.filters import FACETS, Filter
from serving.index.holder import Holder
from serving.index.search import Found, search, search_each
from serving.proto import search_pb2, search_pb2_grpc
from serving.rpc.unary import Context
from serving.services.cards import cards
from serving.settings import Settings

# Stored features are float16: a row of theirs is off by less than a thousandth.
NORM_TOLERANCE = 0.01
# The chosen box of a picture, the whole, and as much again; a page of products.
_QUICK_ROWS, _QUICK_K = 4, 50

_COLLAPSE: dict[int, Collapse] = {
    search_pb2.COLLAPSE_PRODUCT: "product",
    search_pb2.COLLAPSE_VARIANT: "variant",
    search_pb2.COLLAPSE_PICTURE: "picture",
}


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A query that was checked: unit rows ``xq`` float32 (n, dim), and what may be found."""

    xq: NDArray[np.float32]
    k: int
    allowed: NDArray[np.bool_] | None
    collapse: Collapse


class SearchServicer(search_pb2_grpc.SearchServicer):
    """``executor`` runs what may take long, and health goes on answering.

    A single search of the graph is made right here: to hand it over to a thread, and the interpreter with
    it, takes longer than the search.
    """

    def __init__(self, holder: Holder, settings: Settings, executor: Executor) -> None:
        self._holder = holder
        self._settings = settings
        self._executor = executor

    async def Search(self, request: search_pb2.SearchRequest, context: Context) -> search_pb2.SearchReply:
        generation = self._holder.current()
        if _quick(request):
            return self._search(generation, request)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._search, generation, request)

    def _search(self, generation: Generation, request: search_pb2.SearchRequest) -> search_pb2.SearchReply:
        _check_count("queries", len(request.queries), self._settings.max_batch)
        asked = [self._asked(generation, request, query) for query in request.queries]
        manifest, told = generation.manifest, cards(generation)
        reply = search_pb2.SearchReply(generation=manifest.id, embedder_version=manifest.embedder)
        for found in _search_all(generation, asked):
            told.add_result(reply, found)
        return reply

    def _asked(
        self, generation: Generation, request: search_pb2.SearchRequest, query: search_pb2.Query
    ) -> _Asked:
        if not 1 <= query.k <= self._settings.max_k:
            raise BadInput(f"k is {query.k}; it must be 1 to {self._settings.max_k}")
        if query.collapse not in _COLLAPSE:  # of a newer caller
            raise BadInput(f"collapse {query.collapse} is not known here; 0 to {len(_COLLAPSE) - 1} are")
        allowed = None
        if query.HasField("filter"):
            allowed = generation.attributes.mask(self._filter(query.filter))
        if query.product_id and query.vectors:
            raise BadInput("a query has vectors or a product_id, not both")
        if query.product_id:
            place = generation.attributes.place(query.product_id)
            if place is None:
                raise NotFound(f"product {query.product_id!r} is not in the index")
            if allowed is None:
                allowed = np.ones(generation.manifest.products, bool)
            allowed[place] = False
            xq = generation.vectors(place)
        else:
            xq = self._vectors(generation, request, query)
        return _Asked(xq, query.k, allowed, _COLLAPSE[query.collapse])

    def _vectors(
        self, generation: Generation, request: search_pb2.SearchRequest, query: search_pb2.Query
    ) -> NDArray[np.float32]:
        """The unit rows of a query, float32 (n, dim)."""
        manifest = generation.manifest
        if not request.embedder_version:
            raise BadInput("embedder_version is missing: it says which model made the vectors")
        if request.embedder_version != manifest.embedder:
            raise ModelMismatch(
                f"the vectors are of embedder {request.embedder_version}, "
                f"generation {manifest.id} is of {manifest.embedder}"
            )
        if request.dim != manifest.dim:
            raise BadInput(
                f"dim is {request.dim}; vectors of embedder {manifest.embedder} have {manifest.dim}"
            )
        if not query.vectors:
            raise BadInput("a query has neither vectors nor a product_id")
        if len(query.vectors) % (4 * manifest.dim):
            raise BadInput(
                f"vectors: {len(query.vectors)} bytes are no whole number of rows of {4 * manifest.dim}"
            )
        xq = np.frombuffer(query.vectors, "<f4").reshape(-1, manifest.dim).astype(np.float32)
        if len(xq) == 1:  # by far the most
            length = float(xq[0] @ xq[0]) ** 0.5
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
        generation = self._holder.current()
        _check_count("product_ids", len(request.product_ids), self._settings.max_k)
        places = [generation.attributes.place(name) for name in request.product_ids]
        found = [place for place in places if place is not None]
        told = cards(generation)
        return search_pb2.GetProductsReply(
            products=[told.product(place) for place in found], generation=generation.manifest.id
        )

    async def Status(self, request: search_pb2.StatusRequest, context: Context) -> search_pb2.StatusReply:
        reply = search_pb2.StatusReply()
        failure = self._holder.failure
        if failure is not None:
            reply.failed_generation, reply.last_error = failure.generation, failure.reason
        generation = self._holder.loaded
        if generation is not None:
            manifest, facets = generation.manifest, generation.attributes.facets
            values = {name: [value for value in facets[name].values if value] for name in FACETS}
            served = search_pb2.StatusReply(
                generation=manifest.id,
                embedder_version=manifest.embedder,
                detector_version=manifest.detector,
                dim=manifest.dim,
                products=manifest.products,
                rows=manifest.rows,
                created_at=manifest.created_at,
                categories=values["category"],
                brands=values["brand"],
                colours=values["colour"],
            )
            reply.MergeFrom(served)
        return reply


def _quick(request: search_pb2.SearchRequest) -> bool:
    """Whether it is one query of few vectors for a page of products and nothing else, as nearly all are."""
    if len(request.queries) != 1:
        return False
    query, most_bytes = request.queries[0], _QUICK_ROWS * 4 * request.dim
    special = query.product_id or query.HasField("filter")
    return query.k <= _QUICK_K and len(query.vectors) <= most_bytes and not special


def _search_all(generation: Generation, asked: list[_Asked]) -> list[Found]:
    """What each finds; those of one row and without a filter, that want as much, are searched as one."""
    together: dict[tuple[int, Collapse], list[int]] = {}
    found: dict[int, Found] = {}
    for number, one in enumerate(asked):
        if len(one.xq) == 1 and one.allowed is None:
            together.setdefault((one.k, one.collapse), []).append(number)
        else:
            found[number] = search(generation, one.xq, one.k, one.allowed, collapse=one.collapse)
    for (k, collapse), numbers in together.items():
        xq = np.concatenate([asked[number].xq for number in numbers])
        found |= zip(numbers, search_each(generation, xq, k, collapse), strict=True)
    return [found[number] for number in range(len(asked))]


def _check_count(name: str, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise BadInput(f"{name}: there are {count}; 1 to {most} are taken")
