"""What a page shows once: a product, the products of one picture, or one design in its colours.

A group is known by the number of one of its products, and every product is in exactly one group of each kind,
so a grouping is a number a product. Products of deltas join the groups of the base or make new ones; a group
keeps its number when the product that gave it goes.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

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
    """``of_product`` int32 (products,): the group of each; ``count`` groups have a product that is there.

    ``members`` int32 holds the base's products of group 0, then of 1 and so on, each group's in ascending
    order; group g has those from ``first[g]`` to ``first[g + 1]`` (int64 (products of the base + 1,)).
    ``later`` are the products of deltas, by group. ``alone``: every product is a group by itself.
    """

    of_product: NDArray[np.int32]
    count: int
    members: NDArray[np.int32]
    first: NDArray[np.int64]
    alone: bool
    later: dict[int, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, of_product: NDArray[np.int32]) -> "Grouping":
        """Of each product's group, all of one base."""
        sizes = np.bincount(of_product, minlength=len(of_product))
        count = int(np.count_nonzero(sizes))
        return cls(
            of_product=of_product,
            count=count,
            members=np.argsort(of_product, kind="stable").astype(np.int32),
            first=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            alone=count == len(of_product),
        )

    def grown(self, groups: Sequence[int], alive: NDArray[np.bool_], gone: Iterable[int]) -> "Grouping":
        """With products of deltas, whose ``groups`` these are, and without those ``gone``.

        ``alive`` bool (products,) says which are there. Takes as long as what changed.
        """
        base = len(self.of_product)
        of_product = np.concatenate([self.of_product, np.asarray(groups, np.int32)])
        later: dict[int, list[int]] = defaultdict(list)
        for place, group in enumerate(groups):
            later[group].append(base + place)
        touched = {int(of_product[product]) for product in gone} | set(later)
        before = sum(1 for group in touched if group < base and len(self._of_base(group)))
        grown = Grouping(
            of_product,
            self.count,
            self.members,
            self.first,
            self.alone and all(group == base + place for place, group in enumerate(groups)),
            dict(later),
        )
        now = sum(1 for group in touched if alive[grown.all_of(group)].any())
        object.__setattr__(grown, "count", self.count - before + now)
        return grown

    def _of_base(self, group: int) -> NDArray[np.int32]:
        if group >= len(self.first) - 1:
            return self.members[:0]
        return self.members[self.first[group] : self.first[group + 1]]

    def all_of(self, group: int) -> NDArray[np.int32]:
        """The products of a group, ascending, those that went included."""
        return np.concatenate([self._of_base(group), np.asarray(self.later.get(group, []), np.int32)])

    def sizes(self, alive: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """int64 (products,): how many products each group has that are there; 0 where no group is."""
        there = self.of_product if alive is None else self.of_product[alive]
        return np.bincount(there, minlength=len(self.of_product))

    def kept(self, allowed: NDArray[np.bool_]) -> int:
        """How many groups have a product of ``allowed`` bool (products,)."""
        if self.alone:
            return int(np.count_nonzero(allowed))
        has = np.zeros(len(allowed), bool)
        has[self.of_product[allowed]] = True
        return int(np.count_nonzero(has))

    def others(self, product: int, allowed: NDArray[np.bool_] | None) -> NDArray[np.int32]:
        """The further products of a product's group that are allowed, ascending."""
        members = self.all_of(int(self.of_product[product]))
        keep = members != product
        if allowed is not None:
            keep &= allowed[members]
        return np.asarray(members[keep])


def groupings(products: pa.Table) -> dict[Collapse, Grouping]:
    """Of every kind, from the columns of a base's ``products``.

    Raises ``Unverified`` when a group does not have the name of a product of its own.
    """
    found: dict[Collapse, Grouping] = {}
    for kind in COLLAPSES:
        of_product = np.arange(products.num_rows, dtype=np.int32)
        if kind in COLUMN:
            places = pc.index_in(products[COLUMN[kind]], value_set=products["product_id"].combine_chunks())
            if places.null_count:
                raise Unverified(f"a {COLUMN[kind]} has the name of no product of the generation")
            of_product = places.to_numpy().astype(np.int32)
            if not np.array_equal(of_product[of_product], of_product):
                raise Unverified(f"a {COLUMN[kind]} has the name of a product of another group")
        found[kind] = Grouping.of(of_product)
    return found
