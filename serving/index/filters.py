"""Which products a search may answer with."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from serving.errors import BadInput

# The columns whose values a shop offers to choose from.
FACETS = ("category", "brand", "colour")


@dataclass(frozen=True, slots=True)
class Filter:
    """AND of what is set; each set is any-of; an empty set does not filter."""

    category: frozenset[str] = frozenset()
    brand: frozenset[str] = frozenset()
    colour: frozenset[str] = frozenset()
    price_min: int | None = None
    price_max: int | None = None
    in_stock_only: bool = False
    excluded: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.price_min is not None and self.price_max is not None and self.price_min > self.price_max:
            raise BadInput(f"filter: price_min {self.price_min} is above price_max {self.price_max}")


# What is usually asked: a shop shows what can be bought.
IN_STOCK = Filter(in_stock_only=True)

# A column is compared with each of so many values; with more of them, a table of all is cheaper.
_COMPARED = 16


@dataclass(frozen=True)
class Facet:
    """A column as numbers: ``codes`` (products,) are the places of the products' values in ``values``.

    Of as few bytes as there are values for: a comparison takes as long as the memory it reads, and no longer
    than to unpack a bitmap of the value (docs/adr/0006).
    """

    values: list[str]
    codes: NDArray[np.unsignedinteger[Any]]

    @classmethod
    def of(cls, column: "pa.ChunkedArray[pa.StringScalar]") -> "Facet":
        values = pc.unique(column).sort()
        codes = pc.index_in(column, value_set=values).to_numpy()
        return cls(
            [str(value) for value in values.to_pylist()], codes.astype(np.min_scalar_type(len(values)))
        )

    @cached_property
    def _places(self) -> dict[str, int]:
        return {value: place for place, value in enumerate(self.values)}

    def mask(self, wanted: frozenset[str]) -> NDArray[np.bool_]:
        """bool (products,): has one of ``wanted``. A value that no product has fits nothing."""
        places = [place for value in wanted if (place := self._places.get(value)) is not None]
        if len(places) > _COMPARED:
            has = np.zeros(len(self.values), bool)
            has[places] = True
            return has.take(self.codes)
        found = np.zeros(len(self.codes), bool) if not places else self.codes == places[0]
        has_one = np.empty_like(found)  # memory that is new each time takes as long as the comparison
        for place in places[1:]:
            found |= np.equal(self.codes, place, out=has_one)
        return found


@dataclass(frozen=True)
class Attributes:
    """What products are filtered by, as arrays of one entry a product."""

    ids: "pa.Array[pa.StringScalar]"
    facets: dict[str, Facet]
    price: NDArray[np.signedinteger[Any]]
    in_stock: NDArray[np.bool_]
    _count: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_count", len(self.ids))

    @classmethod
    def of(cls, products: pa.Table) -> "Attributes":
        """Of a table as ``generation.PRODUCTS``."""
        return cls(
            ids=products["product_id"].combine_chunks(),
            facets={name: Facet.of(products[name]) for name in FACETS},
            price=_narrow(products["price"].to_numpy()),
            in_stock=products["in_stock"].to_numpy().astype(bool),
        )

    def place(self, product_id: str) -> int | None:
        """The product's number where ids ascend, as those of a base do; None when it is not here."""
        low, high = 0, self._count  # a dictionary of a million ids would cost more than the graph's links
        while low < high:
            middle = (low + high) // 2
            if self.ids[middle].as_py() < product_id:
                low = middle + 1
            else:
                high = middle
        return low if low < self._count and self.ids[low].as_py() == product_id else None

    def mask(self, wanted: Filter, in_stock: NDArray[np.bool_] | None = None) -> NDArray[np.bool_] | None:
        """bool (products,) of those that fit, the caller's own; None when all do.

        ``excluded`` ids are the caller's to look at. ``in_stock`` bool (products,) is taken for the column of
        that name where it is known better.
        """
        parts: list[NDArray[np.bool_]] = [
            self.facets[name].mask(values) for name in FACETS if (values := getattr(wanted, name))
        ]
        if wanted.price_min is not None:
            parts.append(self.price >= wanted.price_min)
        if wanted.price_max is not None:
            parts.append(self.price <= wanted.price_max)
        if wanted.in_stock_only:
            stock = self.in_stock if in_stock is None else in_stock
            parts.append(stock if parts else stock.copy())
        if not parts:
            return None
        for part in parts[1:]:
            parts[0] &= part
        return parts[0]


def _narrow(prices: NDArray[np.integer[Any]]) -> NDArray[np.signedinteger[Any]]:
    """Of half the bytes, where they fit."""
    wide, limit = prices.astype(np.int64), np.iinfo(np.int32)
    small = wide.min(initial=0) >= limit.min and wide.max(initial=0) <= limit.max
    return wide.astype(np.int32) if small else wide
