"""The retailer's table, a checked copy of it, and what that changes."""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from imgsearch_assets.automation import ON_CHANGE
from imgsearch_assets.catalogue.snapshot import (
    changes_of,
    if_readable,
    keep,
    live_manifest,
    live_products,
    products_key,
    take_snapshot,
)
from imgsearch_assets.environment import Environment
from imgsearch_assets.gates.checks import blocking, results
from imgsearch_assets.gates.sanity import enough_rows, few_rejected, of_difference
from imgsearch_assets.gates.waivers import in_force, needed
from imgsearch_assets.graph.steps import CATALOGUE, RETRY, Stopwatch, preview, reasons, sample, step
from imgsearch_assets.references import Change, Snapshot
from imgsearch_assets.tables import read_parquet
from imgsearch_assets.watch.freshness import DAILY
from serving.object_store import ObjectStore

GROUP = "catalogue"

SNAPSHOT_GATES = {
    "enough_rows": "The snapshot is not half of a catalogue.",
    "few_rejected": "Nearly all rows keep to the contract.",
}
DIFF_GATES = {
    "few_removed": "Not too much of what is live goes.",
    "few_changed": "Not too much of what is live changes.",
}

products = dg.AssetSpec(
    "products",
    group_name=GROUP,
    kinds={"table"},
    description="The retailer's table, seen from outside: a data version for every content it had.",
)


@dg.asset(
    group_name=GROUP,
    deps=[products],
    kinds={"parquet"},
    pool=CATALOGUE,
    retry_policy=RETRY,
    freshness_policy=DAILY,
    check_specs=blocking("product_snapshot", SNAPSHOT_GATES),
    description="The catalogue as it was at one moment, every row held to the contract.",
)
def product_snapshot(
    environment: dg.ResourceParam[Environment], store: dg.ResourceParam[ObjectStore]
) -> Iterator[dg.MaterializeResult[Snapshot]]:
    watch = Stopwatch()
    with step():
        snapshot, taken = take_snapshot(store, environment.warehouse)
        checked = taken.value
        live = if_readable(lambda: live_manifest(store, environment.pointer))
        waivers = in_force(store, environment.pointer)
    products, rejected = checked.products.num_rows, checked.rejected.num_rows
    gates = [
        enough_rows(products, live.products if live else None, environment.bounds),
        few_rejected(products, rejected, environment.bounds),
    ]
    found = Snapshot(id=snapshot, products=products, rejected=rejected, waived=needed(gates, waivers))
    yield dg.MaterializeResult(
        value=found,
        data_version=dg.DataVersion(snapshot),
        metadata={
            "dagster/row_count": found.products,
            "rejected": found.rejected,
            "rejected_by_reason": reasons(checked.rejections()),
            "rejected_rows": preview(checked.rejected),
            "products": preview(checked.products),
            **taken.metadata,
            "seconds": watch.seconds,
        },
        check_results=results(gates, waivers, environment.command),
    )


@dg.asset(
    group_name=GROUP,
    kinds={"parquet"},
    automation_condition=ON_CHANGE,
    check_specs=blocking("catalogue_diff", DIFF_GATES),
    description="What the snapshot changes in what is live.",
)
def catalogue_diff(
    product_snapshot: Snapshot,
    environment: dg.ResourceParam[Environment],
    store: dg.ResourceParam[ObjectStore],
) -> Iterator[dg.MaterializeResult[Change]]:
    watch = Stopwatch()
    with step():
        rows = read_parquet(store, products_key(product_snapshot.id))
        live = if_readable(lambda: live_products(store, environment.pointer))
        found = environment.warehouse.difference(rows, live)
        change = found.value
        changes = changes_of(change)
        key = keep(store, product_snapshot.id, "changes", changes)
        waivers = in_force(store, environment.pointer)
    gates = of_difference(change, environment.bounds)
    waived = product_snapshot.waived + needed(gates, waivers)
    yield dg.MaterializeResult(
        value=Change(snapshot=product_snapshot.id, key=key, waived=waived),
        data_version=dg.DataVersion(key),
        metadata={
            "dagster/row_count": changes.num_rows,
            **change.counts,
            "changes": sample(changes, "change"),
            "new_products": preview(pa.table(change.new)),
            **found.metadata,
            "seconds": watch.seconds,
        },
        check_results=results(gates, waivers, environment.command),
    )
