"""The search service: checks what it is asked, searches the current generation, fills in the products."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from serving.errors import BadInput, ModelMismatch, NotFound
from serving.images.box import Box
from serving.index.artifact import Generation
from serving.index.collapse import Collapse
from serving.index.filters import FACETS, Filter
from serving.index.generation import PRODUCTS
from serving.index.holder import Holder
from serving.index.search import Found, search
from serving.proto import geometry_pb2, search_pb2, search_pb2_grpc
from serving.rpc.unary import Context
from serving.settings import Settings

# Stored features are float16: a row of theirs is off by less than a thousandth.
NORM_TOLERANCE = 0.01

_COLLAPSE: dict[int, Collapse] = {
    search_pb2.COLLAPSE_PRODUCT: "product",
    search_pb2.COLLAPSE_VARIANT: "variant",
    search_pb2.COLLAPSE_PICTURE: "picture",
}


class SearchServicer(search_pb2_grpc.SearchServicer):
    """``executor`` runs the searches: FAISS frees the interpreter meanwhile, and health goes on answering."""

    def __init__(self, holder: Holder, settings: Settings, executor: Executor) -> None:
        self._holder = holder
        self._settings = settings
        self._executor = executor

    async def Search(self, request: search_pb2.SearchRequest, context: Context) -> search_pb2.SearchReply:
        generation = self._holder.current()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._search, generation, request)

    def _search(self, generation: Generation, request: search_pb2.SearchRequest) -> search_pb2.SearchReply:
        _check_count("queries", len(request.queries), self._settings.max_batch)
        return search_pb2.SearchReply(
            results=[self._one(generation, request, query) for query in request.queries],
            generation=generation.manifest.id,
            embedder_version=generation.manifest.embedder,
        )

    def _one(
        self, generation: Generation, request: search_pb2.SearchRequest, query: search_pb2.Query
    ) -> search_pb2.Result:
        if not 1 <= query.k <= self._settings.max_k:
            raise BadInput(f"k is {query.k}; it must be 1 to {self._settings.max_k}")
        if query.collapse not in _COLLAPSE:  # of a newer caller
            raise BadInput(f"collapse {query.collapse} is not known here; 0 to {len(_COLLAPSE) - 1} are")
        collapse = _COLLAPSE[query.collapse]
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
        return _result(generation, search(generation, xq, query.k, allowed, collapse=collapse))

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
        _check_count("vectors", len(xq), self._settings.max_batch)
        if not np.isfinite(xq).all():
            raise BadInput("vectors: a number is not finite")
        lengths = np.linalg.norm(xq, axis=1, keepdims=True)
        wrong = float(lengths[np.argmax(np.abs(lengths - 1))][0])
        if abs(wrong - 1) > NORM_TOLERANCE:
            raise BadInput(f"vectors: a row has length {wrong:.4g}; rows must have unit length")
        return xq / lengths  # type: ignore[no-any-return]

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
        return search_pb2.GetProductsReply(
            products=_products(generation, found), generation=generation.manifest.id
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


def _check_count(name: str, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise BadInput(f"{name}: there are {count}; 1 to {most} are taken")


def _result(generation: Generation, found: Found) -> search_pb2.Result:
    products = _products(generation, [hit.product for hit in found.hits])
    items = generation.items.take(_places([hit.row for hit in found.hits])).to_pylist()
    hits = []
    for hit, product, item in zip(found.hits, products, items, strict=True):
        box = Box.from_key(item["box"])
        hits.append(
            search_pb2.Hit(
                product=product,
                score=hit.score,
                also_product_ids=[str(generation.attributes.ids[other]) for other in hit.also],
                image_url=item["image_url"],
                image_sha256=item["sha256"],
                box=geometry_pb2.Box(x0=box.x0, y0=box.y0, x1=box.x1, y1=box.y1),
            )
        )
    return search_pb2.Result(
        hits=hits, plan=found.plan, rows_scanned=found.rows_scanned, exhausted=found.exhausted
    )


def _products(generation: Generation, places: list[int]) -> list[search_pb2.Product]:
    columns = generation.products.select(PRODUCTS.names)
    return [search_pb2.Product(**row) for row in columns.take(_places(places)).to_pylist()]


def _places(places: list[int]) -> "pa.Array[pa.Int64Scalar]":
    """With its type, which Arrow cannot guess of none."""
    return pa.array(places, pa.int64())
