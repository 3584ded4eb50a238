"""What a page shows once: a product, the products of one picture, or one design in its colours.

A group is named by one of its own products, and every product is in exactly one group of each kind, so a
grouping is a number a product: the place of the product that gives the group its name.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from serving.errors import Unverified
from serving.index.collapse import COLLAPSES, Collapse

# The column of products.parquet with each product's group; of "product" there is none, it is the product.
COLUMN: dict[Collapse, str] = {"variant": "variant_group", "picture": "picture_group"}


@dataclass(frozen=True, eq=False)
class Grouping:
    """``of_product`` int32 (products,) and ``of_row`` int32 (rows,): the group of each; ``count`` groups.

    ``members`` int32 (products,) holds the products of group 0, then of 1 and so on, each group's in
    ascending order; group g has those from ``first[g]`` to ``first[g + 1]`` (int64 (products + 1,)).
    """

    of_product: NDArray[np.int32]
    of_row: NDArray[np.int32]
    count: int
    members: NDArray[np.int32]
    first: NDArray[np.int64]

    @classmethod
    def of(cls, of_product: NDArray[np.int32], row_product: NDArray[np.int32]) -> "Grouping":
        """Of each product's group and each row's product."""
        sizes = np.bincount(of_product, minlength=len(of_product))
        return cls(
            of_product=of_product,
            of_row=of_product[row_product],
            count=int(np.count_nonzero(sizes)),
            members=np.argsort(of_product, kind="stable").astype(np.int32),
            first=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        )

    @property
    def sizes(self) -> NDArray[np.int64]:
        """int64 (products,): how many products each group has; 0 where no group has that name."""
        return np.diff(self.first)

    def kept(self, allowed: NDArray[np.bool_] | None) -> int:
        """How many groups have a product of ``allowed`` bool (products,); None allows all."""
        if allowed is None:
            return self.count
        if self.count == len(allowed):  # everything is alone
            return int(np.count_nonzero(allowed))
        has = np.zeros(len(allowed), bool)
        has[self.of_product[allowed]] = True
        return int(np.count_nonzero(has))

    def others(self, product: int, allowed: NDArray[np.bool_] | None) -> NDArray[np.int32]:
        """The further products of a product's group that are allowed, ascending."""
        group = self.of_product[product]
        members: NDArray[np.int32] = self.members[self.first[group] : self.first[group + 1]]
        keep = members != product
        if allowed is not None:
            keep &= allowed[members]
        return np.asarray(members[keep])


def groupings(products: pa.Table, row_product: NDArray[np.int32]) -> dict[Collapse, Grouping]:
    """Of every kind, from the columns of ``products``.

    Raises ``Unverified`` when a group does not have the name of a product of its own.
    """
    found: dict[Collapse, Grouping] = {}
    for kind in COLLAPSES:
        of_product = np.arange(products.num_rows, dtype=np.int32)
        if kind in COLUMN:
            places = pc.index_in(products[COLUMN[kind]], value_set=products["product_id"])
            if places.null_count:
                raise Unverified(f"a {COLUMN[kind]} has the name of no product of the generation")
            of_product = places.to_numpy().astype(np.int32)
            if not np.array_equal(of_product[of_product], of_product):
                raise Unverified(f"a {COLUMN[kind]} has the name of a product of another group")
        found[kind] = Grouping.of(of_product, row_product)
    return found
