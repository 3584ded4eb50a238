"""Search in a generation that a Milvus collection holds.

Milvus returns the best row of each of the best groups to every row of a query. It may return fewer groups
than there are (a graph under a tight filter, a grouping that looked at too few rows), so it is asked again,
without those it told, until there are enough or it has none left: filters never starve.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import NotFound, Unverified
from serving.images.box import Box
from serving.index.collapse import Collapse
from serving.index.filters import FACETS
from serving.milvus.client import Client
from serving.milvus.collection import (
    ABOUT,
    PICTURE_FIELDS,
    PRODUCT_FIELDS,
    ROWS,
    VECTOR,
    generation_of,
    search_params,
    size_field,
)
from serving.milvus.description import Description
from serving.milvus.expression import both, expression, none_of, one_of, product_key
from serving.proto import geometry_pb2, search_pb2
from serving.services.searchable import Asked

# Named beside a group's best product, as in memory.
MAX_ALSO = 8
# Groups of more products than this are asked for one by one, so that none crowds out the others.
_LARGE = 32
# Most that Milvus returns to one query row.
MOST = 16_384


@dataclass(frozen=True, slots=True)
class _Entity:
    """A row that was found: its number, its cosine at most 1, its product, its group, all fields."""

    row: int
    score: float
    product: int
    group: int
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Query:
    """Unit rows ``xq`` float32 (n, dim) and what is kept, as an expression; None keeps nothing."""

    xq: NDArray[np.float32]
    k: int
    kept: str | None
    collapse: Collapse


@dataclass(slots=True)
class _Found:
    """What was found for a query, and the ids of further products by group."""

    best: list[_Entity] = field(default_factory=list)
    also: dict[int, list[str]] = field(default_factory=dict)
    scanned: int = 0


class InMilvus:
    """A ``searchable.Searchable``."""

    quick = False

    def __init__(self, client: Client, collection: str, description: Description) -> None:
        self.collection = collection
        self.about = description.about
        self._client = client
        self._index = description.index
        self._values = description.values
        self._codes = {
            facet: {value: code for code, value in enumerate(values)}
            for facet, values in description.values.items()
        }

    def search(self, asked: Sequence[Asked], reply: search_pb2.SearchReply) -> None:
        """Also raises ``Unavailable``."""
        queries = [self._query(one) for one in asked]
        alike: dict[tuple[str | None, int, Collapse], list[int]] = defaultdict(list)
        for number, query in enumerate(queries):
            alike[query.kept, query.k, query.collapse].append(number)
        found: dict[int, _Found] = {}
        for numbers in alike.values():
            found |= zip(numbers, self._found([queries[number] for number in numbers]), strict=True)
        for number, query in enumerate(queries):
            self._tell(reply, query, found[number])

    def products(self, ids: Sequence[str]) -> list[search_pb2.Product]:
        keys = one_of("product_key", set(map(product_key, ids)))
        rows = self._rows(both(keys, "first == true"), PRODUCT_FIELDS)
        there = {row["product_id"]: row for row in rows}
        return [_product(there[name]) for name in ids if name in there]

    def values(self, facet: str) -> list[str]:
        return self._values[facet]

    def _query(self, asked: Asked) -> _Query:
        kept = expression(asked.wanted, self._codes)
        if asked.xq is not None:
            return _Query(asked.xq, asked.k, kept, asked.collapse)
        key = product_key(asked.product_id)
        rows = self._rows(one_of("product_key", [key]), ("row", "product", "product_id", VECTOR))
        rows = [row for row in rows if row["product_id"] == asked.product_id]
        own = sorted(rows, key=lambda row: int(row["row"]))
        if not own:
            raise NotFound(f"product {asked.product_id!r} is not in the index")
        if kept is not None:
            kept = both(kept, none_of("product", [own[0]["product"]]))
        return _Query(np.array([row[VECTOR] for row in own], np.float32), asked.k, kept, asked.collapse)

    def _found(self, queries: list[_Query]) -> list[_Found]:
        """For queries that differ by their rows alone."""
        kept, k, collapse = queries[0].kept, queries[0].k, queries[0].collapse
        if kept is None:
            return [_Found() for _ in queries]
        compared = self._count(kept) if self._index == "FLAT" else None
        if compared == 0:
            return [_Found() for _ in queries]
        fields = ("product", collapse, size_field(collapse), *PRODUCT_FIELDS, *PICTURE_FIELDS)
        lists = iter(self._groups(np.concatenate([query.xq for query in queries]), collapse, k, kept, fields))
        told = []
        for query in queries:
            rows = [next(lists) for _ in query.xq]
            scanned = sum(map(len, rows)) if compared is None else compared * len(rows)
            best = _best(rows)[:k]
            told.append(_Found(best, self._others(query, best), scanned))
        return told

    def _groups(
        self, xq: NDArray[np.float32], group: str, k: int, kept: str, fields: Sequence[str]
    ) -> list[list[_Entity]]:
        """For each row of ``xq`` float32 (n, dim) the best row of each of the ``k`` best groups."""
        lists = self._asked(xq, group, k, kept, fields)
        for row, found in zip(xq, lists, strict=True):
            more = found
            while more and len(found) < k:
                without = both(kept, none_of(group, [one.group for one in found]))
                (more,) = self._asked(row[None], group, k - len(found), without, fields)
                found += more
        return lists

    def _others(self, query: _Query, best: list[_Entity]) -> dict[int, list[str]]:
        """By group the ids of its further products, those most like the query first."""
        if query.collapse == "product" or query.kept is None:
            return {}
        sizes = {one.group: one.fields[size_field(query.collapse)] - 1 for one in best}
        small = {group: size for group, size in sizes.items() if 0 < size <= _LARGE}
        wanted = [([group], MAX_ALSO) for group, size in sizes.items() if size > _LARGE]
        if small:
            wanted.append((list(small), min(sum(small.values()), MOST)))
        shown = none_of("product", [one.product for one in best])
        also: dict[int, list[str]] = defaultdict(list)
        for groups, most in wanted:
            kept = both(query.kept, one_of(query.collapse, groups), shown)
            lists = self._groups(query.xq, "product", most, kept, ("product", query.collapse, "product_id"))
            for one in _best(lists):
                names = also[one.fields[query.collapse]]
                if len(names) < MAX_ALSO:
                    names.append(one.fields["product_id"])
        return also

    def _asked(
        self, xq: NDArray[np.float32], group: str, fetch: int, kept: str, fields: Sequence[str]
    ) -> list[list[_Entity]]:
        lists = self._client.call(
            "search",
            self.collection,
            data=list(xq),
            anns_field=VECTOR,
            filter=kept,
            limit=fetch,
            group_by_field=group,
            output_fields=list(fields),
            partition_names=[ROWS],
            search_params=search_params(self._index, fetch),
        )
        return [[_entity(hit, group) for hit in hits] for hits in lists]

    def _rows(self, kept: str, fields: Sequence[str]) -> list[dict[str, Any]]:
        rows = self._client.call(
            "query", self.collection, filter=kept, output_fields=list(fields), partition_names=[ROWS]
        )
        return list(rows)

    def _count(self, kept: str) -> int:
        return self.about.rows if not kept else count_rows(self._client, self.collection, kept)

    def _tell(self, reply: search_pb2.SearchReply, query: _Query, found: _Found) -> None:
        exact = self._index == "FLAT" or not found.scanned
        result = reply.results.add(
            plan="exact" if exact else "graph",
            rows_scanned=found.scanned,
            exhausted=len(found.best) < query.k,
        )
        for one in found.best:
            fields, box = one.fields, Box.from_key(one.fields["box"])
            result.hits.add(
                product=_product(fields),
                score=one.score,
                also_product_ids=found.also.get(one.group, []),
                image_url=fields["image_url"],
                image_sha256=fields["sha256"],
                box=geometry_pb2.Box(x0=box.x0, y0=box.y0, x1=box.x1, y1=box.y1),
            )


def opened(client: Client, collection: str) -> InMilvus:
    """The generation that a collection holds, ready for searches.

    Raises ``Unverified`` when it holds none, or not the whole of it, and ``Unavailable``.
    """
    generation = generation_of(collection)
    if generation is None:
        raise Unverified(f"collection {collection} is no generation of ours")
    # A graph is made when all rows are there; without one, Milvus loads nothing.
    if VECTOR not in client.call("list_indexes", collection):
        raise Unverified(f"collection {collection} was not written to the end")
    client.call("load_collection", collection)
    pieces = client.call(
        "query",
        collection,
        filter="row < 0",
        output_fields=["row", ABOUT],
        partition_names=[ABOUT],
        consistency_level="Strong",
    )
    texts = [piece[ABOUT] for piece in sorted(pieces, key=lambda piece: -piece["row"])]
    description = Description.joined(collection, texts)
    if description.generation != generation or set(description.values) != set(FACETS):
        raise Unverified(f"collection {collection} holds generation {description.generation}")
    rows = client.call("get_partition_stats", collection, ROWS)["row_count"]
    if rows != description.rows:
        raise Unverified(f"collection {collection} has {rows} rows, not {description.rows}")
    return InMilvus(client, collection, description)


def count_rows(client: Client, collection: str, kept: str = "") -> int:
    """How many rows of a collection an expression keeps. Raises ``Unavailable``."""
    (counted,) = client.call(
        "query",
        collection,
        filter=both("row >= 0", kept),  # milvus-lite counts all partitions where there is no filter
        output_fields=["count(*)"],
        partition_names=[ROWS],
        consistency_level="Strong",
    )
    return int(counted["count(*)"])


def _entity(hit: Any, group: str) -> _Entity:
    fields = hit["entity"]
    return _Entity(int(hit["row"]), min(hit["distance"], 1.0), fields["product"], fields[group], fields)


def _best(lists: Sequence[Sequence[_Entity]]) -> list[_Entity]:
    """The best row of each group over all ``lists``, best first; ties in the order of rows."""
    best: dict[int, _Entity] = {}
    for one in sorted((one for found in lists for one in found), key=lambda one: (-one.score, one.row)):
        best.setdefault(one.group, one)
    return list(best.values())


def _product(fields: dict[str, Any]) -> search_pb2.Product:
    return search_pb2.Product(**{name: fields[name] for name in PRODUCT_FIELDS})
