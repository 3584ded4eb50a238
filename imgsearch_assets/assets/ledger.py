"""What became of every product: when its change was seen, when it was searchable, and how long that took."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from imgsearch_assets.automation import ON_CHANGE, PRODUCTS, SNAPSHOT, data_version
from imgsearch_assets.environment import Environment
from imgsearch_assets.features.tables import texts
from imgsearch_assets.graph.steps import RETRY, Stopwatch, sample, step
from imgsearch_assets.ledger.delays import Delay, new_to_searchable, sold_to_hidden
from imgsearch_assets.ledger.notes import note_releases, note_sightings
from imgsearch_assets.references import Built, Snapshot
from serving.errors import BadSettings, Unavailable, Unverified
from serving.index.store import environments
from serving.ledger.events import PASSED, SEEN, SIGHTINGS, sightings
from serving.ledger.log import Fragment
from serving.object_store import ObjectStore

_WHAT = {
    "new_to_searchable": "New products are searchable soon after they were seen (95 of 100, in a day).",
    "sold_to_hidden": "What is sold out is hidden soon (95 of 100, in a day).",
}
_SHOWN = ["product_id", "change", "at", "generation", "seen_as", "seen_at", "by"]


@dg.asset(
    group_name="catalogue",
    kinds={"parquet"},
    retry_policy=RETRY,
    automation_condition=ON_CHANGE,
    description="Every change of the catalogue once, by product, with the moment in which it was seen.",
)
def product_sightings(
    context: dg.AssetExecutionContext,
    product_snapshot: Snapshot,
    environment: dg.ResourceParam[Environment],
    store: dg.ResourceParam[ObjectStore],
) -> dg.MaterializeResult[Snapshot]:
    watch = Stopwatch()
    with step():
        at = _seen_at(context.instance, sightings(store).last())
        if data_version(context.instance, SNAPSHOT) in (None, product_snapshot.id):
            rows = note_sightings(store, product_snapshot.id, at, context.run.run_id, environment.pointer)
        else:  # the run that took a newer one notes all of it, in the right order
            rows = SIGHTINGS.empty_table()
    return dg.MaterializeResult(
        value=product_snapshot,
        data_version=dg.DataVersion(product_snapshot.id),
        metadata={
            "dagster/row_count": rows.num_rows,
            **_counts(rows, SEEN),
            "seen_at": dg.MetadataValue.timestamp(at),
            "changes": sample(rows.select(["product_id", "change", "reason", "updated_at"]), "change"),
            "seconds": watch.seconds,
        },
    )


def _seen_at(instance: dg.DagsterInstance, noted: Fragment | None) -> datetime:
    """When the sensor told of a change since the last one that was ``noted``, or the snapshot was taken."""
    times = []
    for key in (PRODUCTS, SNAPSHOT):
        event = instance.get_latest_materialization_event(key)
        if event is not None and (noted is None or event.timestamp * 1e6 > noted.last):
            times.append(datetime.fromtimestamp(event.timestamp, UTC))
    return min(times, default=datetime.now(UTC))


def _counts(rows: pa.Table, changes: Sequence[str], prefix: str = "") -> dict[str, int]:
    """Of every change, 0 too: a plot of them has no gaps."""
    found = Counter(texts(rows, "change"))
    return {f"{prefix}{change}": found[change] for change in changes}


@dg.asset(
    group_name="release",
    kinds={"parquet"},
    retry_policy=RETRY,
    automation_condition=ON_CHANGE,
    deps=["product_sightings"],
    check_specs=[
        dg.AssetCheckSpec(name, asset="product_ledger", description=text) for name, text in _WHAT.items()
    ],
    description="What each release changed, by product, with the time of every stage on the way there. "
    "`imgsearch explain PRODUCT_ID` reads it.",
)
def product_ledger(
    staging_release: Built,
    environment: dg.ResourceParam[Environment],
    store: dg.ResourceParam[ObjectStore],
) -> Iterator[dg.MaterializeResult[None]]:
    watch = Stopwatch()
    noted: dict[str, Any] = {}
    with step():
        for name in environments(store):
            try:
                rows = note_releases(store, name)
                noted |= _counts(rows, PASSED, f"{name}_")
                if name == environment.pointer:
                    noted["changes"] = sample(rows.select(_SHOWN), "change")
            except Unverified as error:  # of another environment than what this run released, perhaps
                noted[f"not_noted_{name}"] = str(error)
        delays = _delays(store, environment)
    yield dg.MaterializeResult(
        data_version=dg.DataVersion(staging_release.generation),
        metadata={
            **noted,
            **{key: value for delay in delays for key, value in delay.figures.items()},
            "seconds": watch.seconds,
        },
        check_results=[
            dg.AssetCheckResult(
                check_name=delay.name,
                passed=delay.passed,
                severity=dg.AssetCheckSeverity.WARN,
                description=delay.message,
                metadata={**delay.figures, "wanted_p95_s": delay.wanted_s},
            )
            for delay in delays
        ],
    )


def _delays(store: ObjectStore, environment: Environment) -> list[Delay]:
    new = new_to_searchable(store, environment.pointer, environment.pipeline.new_to_searchable_s)
    wanted_s = environment.pipeline.sold_to_hidden_s
    try:
        with closing(environment.stock_log) as stock_log:
            sold = sold_to_hidden(stock_log, wanted_s)
    except (BadSettings, Unavailable) as error:  # nothing that the ledger would have to wait for
        sold = Delay("sold_to_hidden", (), wanted_s, unknown=str(error))
    return [new, sold]
