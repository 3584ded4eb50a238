"""The rows of one collection, as they are asked for.

Milvus returns the best row of each of the best groups to every row of a query. It may return fewer groups
than there are (a graph under a tight filter, a grouping that looked at too few rows), so it is asked again,
without those it told, until there are enough or it has none left: filters never starve.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.milvus.client import Client
from serving.milvus.collection import ROWS, VECTOR, search_params
from serving.milvus.description import Index
from serving.milvus.expression import both, none_of

# Most that Milvus returns to one query row.
MOST = 16_384


@dataclass(frozen=True, slots=True)
class Entity:
    """A row that was found: its number, its cosine at most 1, its group, the fields that were asked for."""

    row: int
    score: float
    group: int
    fields: dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Every method also raises ``Unavailable``. ``kept`` is an expression, empty for everything."""

    client: Client
    collection: str
    index: Index

    def where(self, kept: str, fields: Sequence[str]) -> list[dict[str, Any]]:
        """The fields of the rows that are kept, in no order."""
        rows = self.client.call(
            "query", self.collection, filter=kept, output_fields=list(fields), partition_names=[ROWS]
        )
        return list(rows)

    def count(self, kept: str) -> int:
        """How many rows are kept, looked at and not remembered."""
        (counted,) = self.client.call(
            "query",
            self.collection,
            filter=both("row >= 0", kept),  # milvus-lite counts all partitions where there is no filter
            output_fields=["count(*)"],
            partition_names=[ROWS],
            consistency_level="Strong",
        )
        return int(counted["count(*)"])

    def best_groups(
        self, xq: NDArray[np.float32], group: str, k: int, kept: str, fields: Sequence[str]
    ) -> list[list[Entity]]:
        """For each row of ``xq`` float32 (n, dim) the best row of each of the ``k`` best groups, or of all.

        ``group`` is the field that numbers the groups; at most ``MOST`` are told.
        """
        lists = self._search(xq, group, k, kept, fields)
        for row, found in zip(xq, lists, strict=True):
            more = found
            while more and len(found) < k:
                without = both(kept, none_of(group, [one.group for one in found]))
                (more,) = self._search(row[None], group, k - len(found), without, fields)
                found += more
        return lists

    def _search(
        self, xq: NDArray[np.float32], group: str, fetch: int, kept: str, fields: Sequence[str]
    ) -> list[list[Entity]]:
        lists = self.client.call(
            "search",
            self.collection,
            data=list(xq),
            anns_field=VECTOR,
            filter=kept,
            limit=fetch,
            group_by_field=group,
            output_fields=list(dict.fromkeys([group, *fields])),
            partition_names=[ROWS],
            search_params=search_params(self.index, fetch),
        )
        return [[_entity(hit, group) for hit in hits] for hits in lists]


def merged(lists: Sequence[Sequence[Entity]]) -> list[Entity]:
    """The best row of each group over all ``lists``, best first; ties in the order of rows."""
    best: dict[int, Entity] = {}
    for one in sorted((one for found in lists for one in found), key=lambda one: (-one.score, one.row)):
        best.setdefault(one.group, one)
    return list(best.values())


def _entity(hit: Any, group: str) -> Entity:
    return Entity(int(hit["row"]), min(hit["distance"], 1.0), hit["entity"][group], hit["entity"])
