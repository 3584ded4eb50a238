"""Search in a generation that was loaded into this process."""

import time
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving.errors import NotFound
from serving.index.collapse import Collapse
from serving.index.filters import IN_STOCK
from serving.index.loaded import Generation
from serving.index.paging import search_after
from serving.index.search import Found, search, search_each
from serving.proto import search_pb2
from serving.services import explained
from serving.services.cards import Cards
from serving.services.searchable import About, Asked, StockState
from serving.services.stock import FRESH_S, OnShelf, Shelf


class InMemory:
    """A ``searchable.Searchable``. ``shelf`` knows what is in stock; without one the generation does."""

    quick = True

    def __init__(self, generation: Generation, shelf: Shelf | None = None) -> None:
        self._generation = generation
        self._shelf = shelf or Shelf(generation)
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

    @property
    def stock(self) -> StockState:
        version = self._shelf.now.version
        return StockState(version, bool(version) and time.monotonic() - self._shelf.read_at <= FRESH_S)

    def search(self, asked: Sequence[Asked]) -> list[bytes]:
        """Those for everything, or for what is in stock, that want as much are searched as one."""
        generation, now = self._generation, self._shelf.now
        together: dict[tuple[int, Collapse, bool], dict[int, NDArray[np.float32]]] = defaultdict(dict)
        found: dict[int, Found] = {}
        places: dict[int, int] = {}
        for number, one in enumerate(asked):
            in_stock = one.wanted is IN_STOCK
            plain = (in_stock or one.wanted is None) and one.after is None
            if one.xq is None:
                place = places[number] = self._place(one.product_id)
                if plain and self._is_single(place, one.collapse):
                    # It finds itself first, if it is in stock: one more is sooner found than a filter made.
                    k = one.k + (not in_stock or bool(now.in_stock[place]))
                    together[k, one.collapse, in_stock][number] = generation.vectors(place)
                else:
                    found[number] = self._like(place, one, now)
            elif plain:
                together[one.k, one.collapse, in_stock][number] = one.xq
            else:
                found[number] = self._page(one, one.xq, self._allowed(one, now))
        for (k, collapse, in_stock), queries in together.items():
            kept = now.kept if in_stock else None
            each = search_each(generation, list(queries.values()), k, kept, collapse=collapse)
            found |= {
                number: _without(one, places[number], asked[number].k) if number in places else one
                for number, one in zip(queries, each, strict=True)
            }
        return [
            self._cards.result(found[number], now.as_bytes, places.get(number))
            for number in range(len(asked))
        ]

    def _place(self, product_id: str) -> int:
        place = self._generation.place(product_id)
        if place is None:
            raise NotFound(f"product {product_id!r} is not in the index")
        return place

    def _is_single(self, place: int, collapse: Collapse) -> bool:
        grouping = self._generation.groupings[collapse]
        return grouping.alone or not len(grouping.others(place, None))

    def _allowed(self, asked: Asked, now: OnShelf) -> NDArray[np.bool_] | None:
        """bool (stored products,), the caller's own; None for all that are there."""
        if asked.wanted is IN_STOCK:
            return now.kept.allowed.copy()
        return None if asked.wanted is None else self._generation.mask(asked.wanted, now.in_stock)

    def _like(self, place: int, asked: Asked, now: OnShelf) -> Found:
        """With the vectors of a product, which is left out."""
        generation, allowed = self._generation, self._allowed(asked, now)
        if allowed is None:
            allowed = generation.everything()
        allowed[place] = False
        return self._page(asked, generation.vectors(place), allowed)

    def _page(self, asked: Asked, xq: NDArray[np.float32], allowed: NDArray[np.bool_] | None) -> Found:
        if asked.after is None:
            return search(self._generation, xq, asked.k, allowed, collapse=asked.collapse)
        return search_after(
            self._generation, xq, asked.k, asked.after, asked.most, allowed, collapse=asked.collapse
        )

    def products(self, ids: Sequence[str]) -> list[search_pb2.Product]:
        in_stock = self._shelf.now.as_bytes
        places = [self._generation.place(name) for name in ids]
        return [self._cards.product(place, in_stock) for place in places if place is not None]

    def explain(self, product_id: str, like: str) -> search_pb2.ExplainReply:
        place = self._held(product_id)
        other = self._shown(self._held(like)) if like else None
        variants, same_picture = self._others("variant", place), self._others("picture", place)
        product = self._cards.product(place, self._shelf.now.as_bytes)
        return explained.reply(self.about, product, self._shown(place), variants, same_picture, other)

    def _held(self, product_id: str) -> int:
        place = self._generation.place(product_id)
        if place is None:
            raise explained.missing(self.about, product_id)
        return place

    def _shown(self, place: int) -> explained.Shown:
        generation = self._generation
        vectors, first = generation.vectors(place), generation.first_row(place)
        items = generation.items.slice(first, len(vectors))
        columns = (items[name].to_pylist() for name in ("image_url", "sha256", "box"))
        return explained.Shown(list(zip(*columns, strict=True)), vectors)

    def _others(self, collapse: Collapse, place: int) -> list[str]:
        generation = self._generation
        others = generation.groupings[collapse].others(place, generation.alive)
        return [generation.id_of(other) for other in others[: explained.MOST_OTHERS].tolist()]

    def values(self, facet: str) -> list[str]:
        return self._generation.values(facet)


def _without(found: Found, product: int, k: int) -> Found:
    """The ``k`` best of what was found that are not ``product``."""
    return found._replace(hits=[hit for hit in found.hits if hit.product != product][:k])
