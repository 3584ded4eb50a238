"""What a snapshot of the catalogue changes in what is live; no IO."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from imgsearch_assets.catalogue.contract import COLUMNS, PRODUCTS


@dataclass(frozen=True)
class Difference:
    """Every changed product once: tables of ``PRODUCTS``, but ``removed``, which holds ``product_id``.

    ``repictured`` names other pictures; ``reattributed`` differs otherwise; of ``touched`` nothing differs
    but when it was written. ``rewritten`` are all of these three that were written since, by ``product_id``:
    their pictures may differ under the same URLs. A product none of whose pictures could be fetched is not
    live, so it is ``new`` again.
    """

    new: pa.Table
    removed: pa.Table
    repictured: pa.Table
    touched: pa.Table
    reattributed: pa.Table
    rewritten: pa.Table
    unchanged: int

    @property
    def counts(self) -> dict[str, int]:
        tables = ("new", "removed", "repictured", "touched", "reattributed")
        return {name: getattr(self, name).num_rows for name in tables} | {"unchanged": self.unchanged}


def difference(snapshot: pa.Table, live: pa.Table | None) -> Difference:
    """Sort the products of ``snapshot`` (``PRODUCTS``) by how they differ from ``live``, if anything is.

    Each table is in order of ``product_id``, as ``snapshot`` is.
    """
    snapshot = snapshot.select(COLUMNS)
    live = PRODUCTS.empty_table() if live is None else live.select(COLUMNS)
    before = pc.index_in(snapshot["product_id"], value_set=live["product_id"].combine_chunks())
    known = pc.is_valid(before)
    old = live.take(before)

    same = {name: _equal(snapshot[name], old[name]) for name in COLUMNS}
    same_urls, same_time = same["image_urls"], same["updated_at"]
    same_rest = same["name"]
    for name in COLUMNS:
        if name not in ("image_urls", "updated_at"):
            same_rest = pc.and_(same_rest, same[name])

    def those(*masks: Any) -> pa.Table:
        mask = known
        for other in masks:
            mask = pc.and_(mask, other)
        return snapshot.filter(mask)

    gone = pc.invert(pc.is_in(live["product_id"], value_set=snapshot["product_id"].combine_chunks()))
    return Difference(
        new=snapshot.filter(pc.invert(known)),
        removed=live.filter(gone).select(["product_id"]).sort_by("product_id"),
        repictured=those(pc.invert(same_urls)),
        touched=those(same_urls, same_rest, pc.invert(same_time)),
        reattributed=those(same_urls, pc.invert(same_rest)),
        rewritten=those(pc.invert(same_time)).select(["product_id"]),
        unchanged=those(same_urls, same_time, same_rest).num_rows,
    )


def apply(change: Difference, live: pa.Table | None) -> pa.Table:
    """``live`` with ``change`` made: the snapshot the change was taken from, by ``product_id``."""
    written = pa.concat_tables([change.new, change.repictured, change.touched, change.reattributed])
    if live is None:
        return written.sort_by("product_id")
    left = pa.concat_tables([written.select(["product_id"]), change.removed])["product_id"].combine_chunks()
    kept = live.select(COLUMNS).filter(pc.invert(pc.is_in(live["product_id"], value_set=left)))
    return pa.concat_tables([kept.cast(PRODUCTS), written.cast(PRODUCTS)]).sort_by("product_id")


def _equal(left: Any, right: Any) -> Any:
    """Whether two columns agree, row by row; null agrees with null only."""
    if pa.types.is_list(left.type):  # which Arrow does not compare; no URL holds a line break
        left, right = (pc.binary_join(column, "\n") for column in (left, right))
    both_null = pc.and_(pc.is_null(left), pc.is_null(right))
    return pc.or_(pc.fill_null(pc.equal(left, right), False), both_null)
