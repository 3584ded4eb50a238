"""Products with the rows that show them and an index of these: the base of a generation, or its deltas."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from serving.errors import Unverified
from serving.index.compare import Vectors
from serving.index.filters import Attributes


@dataclass(frozen=True, eq=False)
class Part:
    """Numbers of products and rows start at 0 in each. Never changes.

    ``row_product`` int32 (rows,) is each row's product; product p has the rows ``first_row[p]`` to
    ``first_row[p + 1]`` (int64 (products + 1,)), at least one.
    """

    index: faiss.Index
    products: pa.Table
    items: pa.Table
    attributes: Attributes
    row_product: NDArray[np.int32]
    first_row: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        index: faiss.Index,
        products: pa.Table,
        items: pa.Table,
        row_product: NDArray[np.int32],
    ) -> "Part":
        """Of products, and items in their order.

        Raises ``Unverified`` when a product has no item, or the items are in another order.
        """
        if np.any(np.diff(row_product) < 0):
            raise Unverified("the items are not in the order of the products")
        first_row = np.searchsorted(row_product, np.arange(products.num_rows + 1)).astype(np.int64)
        bare = np.flatnonzero(np.diff(first_row) == 0)
        if len(bare):
            raise Unverified(f"product {products['product_id'][int(bare[0])]} has no item")
        return cls(index, products, items, Attributes.of(products), row_product, first_row)

    @property
    def rows(self) -> int:
        return len(self.row_product)

    @property
    def size(self) -> int:
        """Products."""
        return len(self.first_row) - 1

    @cached_property
    def vectors(self) -> Vectors:
        """The rows to be compared one by one."""
        return Vectors(self.index)

    def spans(self, products: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first row of each of ``products`` (integers (n,)) and how many it has, int64 (n,) each."""
        starts = self.first_row[products]
        return starts, self.first_row[products + 1] - starts

    def rows_of(self, products: NDArray[Any]) -> NDArray[np.int64]:
        """int64: the rows of ``products`` (integers (n,)), one product's after the other's."""
        if self.rows == self.size:
            return products.astype(np.int64, copy=False)
        return rows_in(*self.spans(products))


def rows_in(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64: ``counts`` rows from each of ``starts`` on."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())


def row_products(items: pa.Table, products: pa.Table) -> NDArray[np.int32]:
    """int32 (rows,): the place of each item's product. Raises ``Unverified`` when one has none."""
    places = pc.index_in(items["product_id"], value_set=products["product_id"].combine_chunks())
    if places.null_count:
        raise Unverified("an item belongs to no product of the generation")
    return places.to_numpy().astype(np.int32)


def joined(tables: list[pa.Table]) -> pa.Table:
    """One below the other, without a copy. Columns that one lacks are empty in its rows."""
    return pa.concat_tables(tables, promote_options="default") if len(tables) > 1 else tables[0]
