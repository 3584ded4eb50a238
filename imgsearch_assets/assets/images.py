"""The pictures that the catalogue names."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from imgsearch_assets.automation import ON_CHANGE
from imgsearch_assets.catalogue.snapshot import (
    failures_of,
    keep,
    pictures_of,
    products_key,
    touched_now,
    urls_of,
)
from imgsearch_assets.environment import Environment
from imgsearch_assets.gates.checks import blocking, results
from imgsearch_assets.gates.sanity import few_not_downloaded
from imgsearch_assets.gates.waivers import in_force, needed
from imgsearch_assets.graph.steps import DOWNLOADS, RETRY, Stopwatch, preview, reasons, step
from imgsearch_assets.images.download import download
from imgsearch_assets.images.plan import plan_downloads
from imgsearch_assets.images.store import fetch_table
from imgsearch_assets.progress import stage
from imgsearch_assets.references import Change, Pictures
from imgsearch_assets.sheets import sheet_of
from imgsearch_assets.tables import read_parquet
from serving.errors import BadInput
from serving.object_store import ObjectStore

GATES = {"few_not_downloaded": "Most pictures that the catalogue names can be had."}


@dg.asset(
    group_name="images",
    kinds={"jpeg"},
    pool=DOWNLOADS,
    retry_policy=RETRY,
    automation_condition=ON_CHANGE,
    check_specs=blocking("product_images", GATES),
    description="Every picture of the snapshot that can be had; only what is new or changed is fetched.",
)
def product_images(
    catalogue_diff: Change,
    environment: dg.ResourceParam[Environment],
    store: dg.ResourceParam[ObjectStore],
) -> Iterator[dg.MaterializeResult[Pictures]]:
    watch = Stopwatch()
    now = datetime.now(UTC)
    with step():
        urls = urls_of(read_parquet(store, products_key(catalogue_diff.snapshot)))
        changes = read_parquet(store, catalogue_diff.key)
        touched = touched_now(urls, changes, now)
        plan = plan_downloads(touched.rename_columns({"image_url": "url"}), fetch_table(store).read(), now)
        with stage("pictures", plan.total) as advance:
            summary = asyncio.run(
                download(
                    plan,
                    store,
                    politeness=environment.politeness,
                    limits=environment.limits,
                    advance=advance,
                )
            )
        fetches = fetch_table(store).read()
        pictures = pictures_of(urls, fetches)
        failures = failures_of(urls, fetches)
        if pictures.num_rows == 0:
            raise BadInput(
                f"none of the {urls.num_rows} pictures of the catalogue can be had ({_why(failures)}); "
                "what is live stays"
            )
        key = keep(store, catalogue_diff.snapshot, "pictures", pictures)
        sheet = sheet_of(store, pictures, changes)
        waivers = in_force(store, environment.pointer)
    gate = few_not_downloaded(failures.num_rows, urls.num_rows, environment.bounds)
    taken = pc.count_distinct(pictures["image_url"]).as_py()
    yield dg.MaterializeResult(
        value=Pictures(
            snapshot=catalogue_diff.snapshot,
            key=key,
            pictures=taken,
            failed=failures.num_rows,
            waived=catalogue_diff.waived + needed([gate], waivers),
        ),
        data_version=dg.DataVersion(key),
        metadata={
            "dagster/row_count": pictures.num_rows,
            "pictures": taken,
            "wanted": urls.num_rows,
            "reused": plan.fresh.num_rows,
            "waiting": plan.waiting.num_rows,
            "downloaded": summary.downloaded,
            "not_modified": summary.not_modified,
            "failed": summary.failed.total(),
            "requests": summary.requests,
            "downloaded_bytes": summary.size_bytes,
            "failed_by_reason": reasons(summary.failed),
            "without_picture": failures.num_rows,
            "failures": preview(failures),
            "new_pictures": sheet,
            "seconds": watch.seconds,
        },
        check_results=results([gate], waivers, environment.command),
    )


def _why(failures: pa.Table) -> str:
    """The reasons and how often each; for the commonest mistake, the mend."""
    counts = Counter(failures["reason"].to_pylist())
    said = ", ".join(f"{reason} {count}" for reason, count in counts.most_common())
    return (
        f"{said}: an address that is not public needs --allow-host HOST:PORT"
        if counts["bad_address"]
        else said
    )
