"""Search in a generation that was loaded into this process."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.errors import NotFound
from serving.index.collapse import Collapse
from serving.index.loaded import Generation
from serving.index.search import Found, search, search_each
from serving.proto import search_pb2
from serving.services.cards import Cards
from serving.services.searchable import About, Asked


@dataclass(frozen=True, slots=True, eq=False)
class _Query:
    """Unit rows ``xq`` float32 (n, dim), and which products may be found; None allows all."""

    xq: NDArray[np.float32]
    k: int
    allowed: NDArray[np.bool_] | None
    collapse: Collapse


class InMemory:
    """A ``searchable.Searchable``."""

    quick = True

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._cards = Cards(generation)
        manifest = generation.manifest
        self.about = About(
            manifest.id,
            manifest.embedder,
            manifest.detector,
            manifest.dim,
            manifest.products,
            manifest.rows,
            manifest.created_at,
        )

    def search(self, asked: Sequence[Asked]) -> list[bytes]:
        found = self._found([self._query(one) for one in asked])
        return [self._cards.result(one) for one in found]

    def products(self, ids: Sequence[str]) -> list[search_pb2.Product]:
        places = [self._generation.place(name) for name in ids]
        return [self._cards.product(place) for place in places if place is not None]

    def values(self, facet: str) -> list[str]:
        return self._generation.values(facet)

    def _query(self, asked: Asked) -> _Query:
        generation = self._generation
        allowed = None if asked.wanted is None else generation.mask(asked.wanted)
        if asked.xq is not None:
            return _Query(asked.xq, asked.k, allowed, asked.collapse)
        place = generation.place(asked.product_id)
        if place is None:
            raise NotFound(f"product {asked.product_id!r} is not in the index")
        if allowed is None:
            allowed = generation.everything()
        allowed[place] = False
        return _Query(generation.vectors(place), asked.k, allowed, asked.collapse)

    def _found(self, queries: list[_Query]) -> list[Found]:
        """What each finds; those of one row and without a filter that want as much are searched as one."""
        together: dict[tuple[int, Collapse], list[int]] = {}
        found: dict[int, Found] = {}
        for number, one in enumerate(queries):
            if len(queries) > 1 and len(one.xq) == 1 and one.allowed is None:
                together.setdefault((one.k, one.collapse), []).append(number)
            else:
                found[number] = search(self._generation, one.xq, one.k, one.allowed, collapse=one.collapse)
        for (k, collapse), numbers in together.items():
            xq = np.concatenate([queries[number].xq for number in numbers])
            found |= zip(numbers, search_each(self._generation, xq, k, collapse), strict=True)
        return [found[number] for number in range(len(queries))]
