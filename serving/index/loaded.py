"""A generation in memory, whose searches are in ``index.search``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from serving.errors import Unverified
from serving.index.collapse import Collapse
from serving.index.filters import Filter
from serving.index.generation import Manifest
from serving.index.groups import COLUMN, Grouping
from serving.index.part import Part, joined


@dataclass(frozen=True)
class Change:
    """A delta as it was read: how many of the products of all deltas are its own, and the ids that go."""

    products: int
    removed: Sequence[str]


@dataclass(frozen=True, eq=False)
class Generation:
    """Never changes; whoever holds a reference may search it.

    Products and rows are numbered through: first those of ``base``, then those of ``delta``, which holds all
    deltas. ``alive`` bool (stored products,) says which products are still there, None when all are.
    ``row_product`` int32 (rows,) is each row's product.
    """

    manifest: Manifest
    base: Part
    delta: Part | None
    alive: NDArray[np.bool_] | None
    row_product: NDArray[np.int32]
    groupings: dict[Collapse, Grouping]
    base_groupings: dict[Collapse, Grouping]
    # Rows of products that are there.
    alive_rows: int
    # The number that a product of the deltas has now, and those of the base that are no more, as -1.
    moved: Mapping[str, int]

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        base: Part,
        groupings: dict[Collapse, Grouping],
        delta: Part | None,
        changes: Sequence[Change],
    ) -> "Generation":
        """``groupings`` are those of the base.

        Raises ``Unverified`` when a delta takes away what is not there, brings what is there already, or
        names a group that is none.
        """
        if not changes:
            return cls(manifest, base, None, None, base.row_product, groupings, groupings, base.rows, {})
        row_product = base.row_product
        if delta is not None:
            row_product = np.concatenate([row_product, delta.row_product + np.int32(base.size)])
        grown = _Growth(base, delta, groupings)
        for change in changes:
            grown.apply(change)
        alive = grown.alive
        gone = np.flatnonzero(~alive)
        found = cls(
            manifest,
            base,
            delta,
            alive if len(gone) else None,
            row_product,
            {kind: groupings[kind].grown(grown.groups[kind], alive, gone.tolist()) for kind in groupings},
            groupings,
            len(row_product),
            grown.moved,
        )
        return replace(found, alive_rows=len(row_product) - int(found.spans(gone)[1].sum()))

    @property
    def parts(self) -> tuple[Part, ...]:
        return (self.base,) if self.delta is None else (self.base, self.delta)

    @property
    def size(self) -> int:
        """Products that are stored, those that went included."""
        return self.base.size + (self.delta.size if self.delta else 0)

    @cached_property
    def products(self) -> pa.Table:
        """A row a stored product."""
        return joined([part.products for part in self.parts])

    @cached_property
    def items(self) -> pa.Table:
        """A row a stored row."""
        return joined([part.items for part in self.parts])

    @property
    def products_there(self) -> int:
        return self.size if self.alive is None else int(np.count_nonzero(self.alive))

    def present(self) -> NDArray[np.int64]:
        """int64 (products,): the numbers of those that are there."""
        return np.arange(self.size) if self.alive is None else np.flatnonzero(self.alive)

    def part_of(self, product: int) -> tuple[Part, int]:
        """Where a product lies, and its number there."""
        if self.delta is None or product < self.base.size:
            return self.base, product
        return self.delta, product - self.base.size

    def id_of(self, product: int) -> str:
        part, place = self.part_of(product)
        return str(part.attributes.ids[place])

    def place(self, product_id: str) -> int | None:
        """The product's number, None when it is not in this generation."""
        return _place(self.base, self.moved, product_id)

    def first_row(self, product: int) -> int:
        part, place = self.part_of(product)
        return int(part.first_row[place]) + (0 if part is self.base else self.base.rows)

    def vectors(self, product: int) -> NDArray[np.float32]:
        """The rows of a product, float32 (n, d), of unit length but for the rounding of float16."""
        part, place = self.part_of(product)
        first, last = int(part.first_row[place]), int(part.first_row[place + 1])
        return np.asarray(part.index.reconstruct_n(first, last - first))

    def vectors_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 (n, d): the vectors of ``rows`` int64 (n,)."""
        if self.delta is None:
            return np.asarray(self.base.index.reconstruct_batch(rows))
        found = np.empty((len(rows), self.manifest.dim), np.float32)
        in_base = rows < self.base.rows
        if in_base.any():
            found[in_base] = self.base.index.reconstruct_batch(rows[in_base])
        if not in_base.all():
            found[~in_base] = self.delta.index.reconstruct_batch(rows[~in_base] - self.base.rows)
        return found

    def spans(self, products: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first row of each of ``products`` (integers (n,)) and how many it has, int64 (n,) each."""
        if self.delta is None:
            return self.base.spans(products)
        starts, counts = np.empty((2, len(products)), np.int64)
        in_base = products < self.base.size
        starts[in_base], counts[in_base] = self.base.spans(products[in_base])
        first, counts[~in_base] = self.delta.spans(products[~in_base] - self.base.size)
        starts[~in_base] = first + self.base.rows
        return starts, counts

    @cached_property
    def in_stock(self) -> NDArray[np.bool_]:
        """bool (stored products,) of those that were in stock when the generation was made."""
        return np.concatenate([part.attributes.in_stock for part in self.parts])

    def mask(self, wanted: Filter, in_stock: NDArray[np.bool_] | None = None) -> NDArray[np.bool_] | None:
        """bool (stored products,) of those that are there and fit; None when all that are there do.

        ``in_stock`` bool (stored products,) says of which there is any now.
        """
        excluded = [place for name in wanted.excluded if (place := self.place(name)) is not None]
        stock = self.in_stock if in_stock is None else in_stock
        starts = (0, self.base.size)
        masks = [
            part.attributes.mask(wanted, stock[start : start + part.size])
            for part, start in zip(self.parts, starts, strict=False)
        ]
        fits = [mask for mask in masks if mask is not None]  # all of them or none
        if not fits:
            if not excluded:
                return None
            allowed = self.everything()
        else:
            allowed = fits[0] if len(fits) == 1 else np.concatenate(fits)
            if self.alive is not None:
                allowed &= self.alive
        allowed[excluded] = False
        return allowed

    def values(self, facet: str) -> list[str]:
        """The values that products have, in order."""
        return sorted({value for part in self.parts for value in part.attributes.facets[facet].values})

    def everything(self) -> NDArray[np.bool_]:
        """bool (stored products,) of those that are there, to be changed."""
        return np.ones(self.size, bool) if self.alive is None else self.alive.copy()


def _place(base: Part, moved: Mapping[str, int], product_id: str) -> int | None:
    """The number that a product has now, None when it is not there."""
    place = moved.get(product_id)
    if place is None:
        return base.attributes.place(product_id)
    return place if place >= 0 else None


class _Growth:
    """What becomes of products and groups as one delta after the other is made."""

    def __init__(self, base: Part, delta: Part | None, groupings: dict[Collapse, Grouping]) -> None:
        self._base, self._groupings = base, groupings
        products = delta.products if delta else base.products.slice(0, 0)
        self._ids = [str(name) for name in products["product_id"].to_pylist()]
        self._names = {
            kind: [str(name) for name in products[column].to_pylist()] for kind, column in COLUMN.items()
        }
        self._done = 0
        self.alive = np.ones(base.size + len(self._ids), bool)
        self.moved: dict[str, int] = {}
        self.groups: dict[Collapse, list[int]] = {kind: [] for kind in groupings}

    def apply(self, change: Change) -> None:
        for name in change.removed:
            self._remove(name)
        own = {self._ids[self._done + at]: self._base.size + self._done + at for at in range(change.products)}
        if len(own) != change.products:
            raise Unverified("a delta brings a product twice")
        for name in own:
            if _place(self._base, self.moved, name) is not None:
                raise Unverified(f"a delta brings product {name}, which is there already")
        groups = {
            kind: [self._group(kind, at, own) for at in range(self._done, self._done + change.products)]
            for kind in self.groups
        }
        for kind, found in groups.items():
            self.groups[kind] += found
        self.moved.update(own)
        self._done += change.products

    def _remove(self, name: str) -> None:
        place = _place(self._base, self.moved, name)
        if place is None:
            raise Unverified(f"a delta takes away product {name}, which is not there")
        self.alive[place] = False
        self.moved[name] = -1

    def _group(self, kind: Collapse, at: int, own: dict[str, int]) -> int:
        """Of the product ``at`` of the deltas: its own name is a new group, another's is the one it is in."""
        if kind not in COLUMN:
            return self._base.size + at
        name = self._names[kind][at]
        if name in own:
            first = own[name]
            if self._names[kind][first - self._base.size] != name:
                raise Unverified(f"a {COLUMN[kind]} has the name of a product of another group")
            return first
        place = _place(self._base, self.moved, name)
        if place is None:
            raise Unverified(f"a {COLUMN[kind]} has the name of no product of the generation")
        base = self._base.size
        grouping = self._groupings[kind]
        return int(grouping.of_product[place]) if place < base else self.groups[kind][place - base]
