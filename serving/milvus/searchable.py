"""Search in a generation that a Milvus collection holds."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import NotFound
from serving.images.box import Box
from serving.index.after import After, mark
from serving.index.collapse import MAX_ALSO, Collapse
from serving.milvus.collection import (
    PICTURE_FIELDS,
    PRODUCT_FIELDS,
    VECTOR,
    size_field,
)
from serving.milvus.description import Description
from serving.milvus.expression import both, expression, none_of, one_of, product_key
from serving.milvus.table import MOST, Entity, Table, merged
from serving.proto import geometry_pb2, search_pb2
from serving.services import explained
from serving.services.searchable import Asked, StockState

# Groups of more products than this are asked for one by one, so that none crowds out the others.
_LARGE = 32


@dataclass(frozen=True, slots=True, eq=False)
class _Query:
    """Unit rows ``xq`` float32 (n, dim) and what is kept, as an expression; None keeps nothing.

    ``product`` is the one whose rows they are, if they are one's.
    """

    xq: NDArray[np.float32]
    k: int
    kept: str | None
    collapse: Collapse
    product: search_pb2.Product | None
    after: After | None
    most: int


@dataclass(slots=True)
class _Found:
    """What was found for a query, and the ids of further products by group."""

    best: list[Entity] = field(default_factory=list)
    also: dict[int, list[str]] = field(default_factory=dict)
    scanned: int = 0
    exhausted: bool = False


class InMilvus:
    """A ``searchable.Searchable``."""

    quick = False
    # Milvus holds the stock of when the generation was made; the front looks after what it finds.
    stock = StockState("", False)

    def __init__(self, table: Table, description: Description) -> None:
        self.about = description.about
        self._table = table
        self._values = description.values
        self._codes = {
            facet: {value: code for code, value in enumerate(values)}
            for facet, values in description.values.items()
        }

    @property
    def collection(self) -> str:
        return self._table.collection

    def search(self, asked: Sequence[Asked]) -> list[bytes]:
        """Also raises ``Unavailable``."""
        queries = [self._query(one) for one in asked]
        alike: dict[tuple[str | None, int, Collapse], list[int]] = defaultdict(list)
        found: dict[int, _Found] = {}
        for number, query in enumerate(queries):
            if query.after is None:
                alike[query.kept, query.k, query.collapse].append(number)
            else:
                found[number] = self._page(query, query.after)
        for numbers in alike.values():
            found |= zip(numbers, self._found([queries[number] for number in numbers]), strict=True)
        return [
            self._result(query, found[number]).SerializeToString() for number, query in enumerate(queries)
        ]

    def products(self, ids: Sequence[str]) -> list[search_pb2.Product]:
        keys = one_of("product_key", set(map(product_key, ids)))
        rows = self._table.where(both(keys, "first == true"), PRODUCT_FIELDS)
        there = {row["product_id"]: row for row in rows}
        return [_product(there[name]) for name in ids if name in there]

    def explain(self, product_id: str, like: str) -> search_pb2.ExplainReply:
        own = self._rows_of(product_id)
        other = _shown(self._rows_of(like)) if like else None
        variants, same_picture = self._mates("variant", own[0]), self._mates("picture", own[0])
        return explained.reply(self.about, _product(own[0]), _shown(own), variants, same_picture, other)

    def _rows_of(self, product_id: str) -> list[dict[str, Any]]:
        """Of a product, in their order, with all that is told of it."""
        fields = ("row", "product", "variant", "picture", VECTOR, *PRODUCT_FIELDS, *PICTURE_FIELDS)
        rows = self._table.where(one_of("product_key", [product_key(product_id)]), fields)
        rows = [row for row in rows if row["product_id"] == product_id]
        if not rows:
            raise explained.missing(self.about, product_id)
        return sorted(rows, key=lambda row: int(row["row"]))

    def _mates(self, collapse: Collapse, row: dict[str, Any]) -> list[str]:
        """Ids of the other products of its group, in the order of products."""
        kept = both(one_of(collapse, [row[collapse]]), none_of("product", [row["product"]]), "first == true")
        rows = sorted(self._table.where(kept, ("product", "product_id")), key=lambda row: int(row["product"]))
        return [row["product_id"] for row in rows[: explained.MOST_OTHERS]]

    def values(self, facet: str) -> list[str]:
        return self._values[facet]

    def _query(self, asked: Asked) -> _Query:
        kept = expression(asked.wanted, self._codes)
        if asked.xq is not None:
            return _Query(asked.xq, asked.k, kept, asked.collapse, None, asked.after, asked.most)
        key = product_key(asked.product_id)
        rows = self._table.where(one_of("product_key", [key]), ("row", "product", *PRODUCT_FIELDS, VECTOR))
        rows = [row for row in rows if row["product_id"] == asked.product_id]
        own = sorted(rows, key=lambda row: int(row["row"]))
        if not own:
            raise NotFound(f"product {asked.product_id!r} is not in the index")
        if kept is not None:
            kept = both(kept, none_of("product", [own[0]["product"]]))
        xq = np.array([row[VECTOR] for row in own], np.float32)
        return _Query(xq, asked.k, kept, asked.collapse, _product(own[0]), asked.after, asked.most)

    def _found(self, queries: list[_Query]) -> list[_Found]:
        """For queries that differ by their rows alone."""
        kept, k, collapse = queries[0].kept, queries[0].k, queries[0].collapse
        if kept is None:
            return [_Found(exhausted=True) for _ in queries]
        compared = None
        if self._table.index == "FLAT":  # all that is kept; of a graph nobody knows
            compared = self._table.count(kept) if kept else self.about.rows
            if not compared:
                return [_Found(exhausted=True) for _ in queries]
        fields = ("product", size_field(collapse), *PRODUCT_FIELDS, *PICTURE_FIELDS)
        xq = np.concatenate([query.xq for query in queries])
        lists = iter(self._table.best_groups(xq, collapse, k, kept, fields))
        told = []
        for query in queries:
            rows = [next(lists) for _ in query.xq]
            scanned = sum(map(len, rows)) if compared is None else compared * len(rows)
            best = merged(rows)[:k]
            told.append(_Found(best, self._others(query, best), scanned, len(best) < k))
        return told

    def _page(self, query: _Query, after: After) -> _Found:
        """What a search that goes deeper finds behind ``after``."""
        depth = min(after.shown + query.k, query.most)
        while True:
            (found,) = self._found([replace(query, k=depth)])
            behind = [one for one in found.best if _is_behind(one, after)]
            if len(behind) >= query.k or found.exhausted or depth == query.most:
                break
            depth = min(2 * depth, query.most)
        exhausted = found.exhausted and len(behind) <= query.k
        return replace(found, best=behind[: query.k], exhausted=exhausted)

    def _others(self, query: _Query, best: list[Entity]) -> dict[int, list[str]]:
        """By group the ids of its further products, those most like the query first."""
        if query.collapse == "product" or query.kept is None:
            return {}
        sizes = {one.group: one.fields[size_field(query.collapse)] - 1 for one in best}
        small = {group: size for group, size in sizes.items() if 0 < size <= _LARGE}
        wanted = [([group], MAX_ALSO) for group, size in sizes.items() if size > _LARGE]
        if small:
            wanted.append((list(small), min(sum(small.values()), MOST)))
        shown = none_of("product", [one.fields["product"] for one in best])
        also: dict[int, list[str]] = defaultdict(list)
        for groups, most in wanted:
            kept = both(query.kept, one_of(query.collapse, groups), shown)
            lists = self._table.best_groups(query.xq, "product", most, kept, (query.collapse, "product_id"))
            for one in merged(lists):
                names = also[one.fields[query.collapse]]
                if len(names) < MAX_ALSO:
                    names.append(one.fields["product_id"])
        return also

    def _result(self, query: _Query, found: _Found) -> search_pb2.Result:
        exact = self._table.index == "FLAT" or not found.scanned
        result = search_pb2.Result(
            plan="exact" if exact else "graph",
            rows_scanned=found.scanned,
            exhausted=found.exhausted,
            product=query.product,
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
        return result


def _is_behind(one: Entity, after: After) -> bool:
    score = float(np.float32(one.score))  # as it is sent
    return score < after.score or (score == after.score and mark(one.fields["product_id"]) not in after.tied)


def _shown(rows: list[dict[str, Any]]) -> explained.Shown:
    places = [(row["image_url"], row["sha256"], row["box"]) for row in rows]
    return explained.Shown(places, np.array([row[VECTOR] for row in rows], np.float32))


def _product(fields: dict[str, Any]) -> search_pb2.Product:
    return search_pb2.Product(**{name: fields[name] for name in PRODUCT_FIELDS})
