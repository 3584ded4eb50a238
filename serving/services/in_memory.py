"""Search in a generation that was loaded into this process."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving.errors import NotFound
from serving.index.collapse import Collapse
from serving.index.loaded import Generation
from serving.index.search import Found, search, search_each
from serving.proto import search_pb2
from serving.services.cards import Cards
from serving.services.searchable import About, Asked


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
        """Those without a filter that want as much are searched as one."""
        together: dict[tuple[int, Collapse], dict[int, NDArray[np.float32]]] = defaultdict(dict)
        found: dict[int, Found] = {}
        for number, one in enumerate(asked):
            if one.wanted is None and one.xq is not None:
                together[one.k, one.collapse][number] = one.xq
            else:
                found[number] = self._one(one)
        for (k, collapse), queries in together.items():
            each = search_each(self._generation, list(queries.values()), k, collapse=collapse)
            found |= zip(queries, each, strict=True)
        return [self._cards.result(found[number]) for number in range(len(asked))]

    def _one(self, asked: Asked) -> Found:
        generation = self._generation
        allowed = None if asked.wanted is None else generation.mask(asked.wanted)
        if asked.xq is not None:
            return search(generation, asked.xq, asked.k, allowed, collapse=asked.collapse)
        place = generation.place(asked.product_id)
        if place is None:
            raise NotFound(f"product {asked.product_id!r} is not in the index")
        if allowed is None:
            allowed = generation.everything()
        allowed[place] = False
        return search(generation, generation.vectors(place), asked.k, allowed, collapse=asked.collapse)

    def products(self, ids: Sequence[str]) -> list[search_pb2.Product]:
        places = [self._generation.place(name) for name in ids]
        return [self._cards.product(place) for place in places if place is not None]

    def values(self, facet: str) -> list[str]:
        return self._generation.values(facet)
