"""The retailer's table, a checked copy of it, and what that changes."""

import dagster as dg
import pyarrow as pa

from imgsearch_assets.automation import ON_CHANGE
from imgsearch_assets.diff import difference
from imgsearch_assets.environment import Environment
from imgsearch_assets.freshness import DAILY
from imgsearch_assets.references import Change, Snapshot
from imgsearch_assets.snapshot import (
    changes_of,
    if_readable,
    keep,
    live_products,
    products_key,
    take_snapshot,
)
from imgsearch_assets.steps import CATALOGUE, RETRY, Stopwatch, preview, reasons, step
from imgsearch_assets.tables import read_parquet
from serving.object_store import ObjectStore

GROUP = "catalogue"


products = dg.AssetSpec(
    "products",
    group_name=GROUP,
    description="The retailer's table, seen from outside: a data version for every content it had.",
)


@dg.asset(
    group_name=GROUP,
    deps=[products],
    kinds={"parquet"},
    pool=CATALOGUE,
    retry_policy=RETRY,
    freshness_policy=DAILY,
    description="The catalogue as it was at one moment, every row held to the contract.",
)
def product_snapshot(
    environment: dg.ResourceParam[Environment], store: dg.ResourceParam[ObjectStore]
) -> dg.MaterializeResult[Snapshot]:
    watch = Stopwatch()
    with step():
        snapshot, checked = take_snapshot(store, environment.catalogue)
    found = Snapshot(id=snapshot, products=checked.products.num_rows, rejected=checked.rejected.num_rows)
    return dg.MaterializeResult(
        value=found,
        data_version=dg.DataVersion(snapshot),
        metadata={
            "dagster/row_count": found.products,
            "rejected": found.rejected,
            "rejected_by_reason": reasons(checked.rejections()),
            "rejected_rows": preview(checked.rejected),
            "products": preview(checked.products),
            "seconds": watch.seconds,
        },
    )


@dg.asset(
    group_name=GROUP,
    kinds={"parquet"},
    automation_condition=ON_CHANGE,
    description="What the snapshot changes in what is live.",
)
def catalogue_diff(
    product_snapshot: Snapshot,
    environment: dg.ResourceParam[Environment],
    store: dg.ResourceParam[ObjectStore],
) -> dg.MaterializeResult[Change]:
    watch = Stopwatch()
    with step():
        rows = read_parquet(store, products_key(product_snapshot.id))
        change = difference(rows, if_readable(lambda: live_products(store, environment.pointer)))
        changes = changes_of(change)
        key = keep(store, product_snapshot.id, "changes", changes)
    return dg.MaterializeResult(
        value=Change(snapshot=product_snapshot.id, key=key),
        data_version=dg.DataVersion(key),
        metadata={
            "dagster/row_count": changes.num_rows,
            **change.counts,
            "changes": preview(changes),
            "new_products": preview(pa.table(change.new)),
            "seconds": watch.seconds,
        },
    )
