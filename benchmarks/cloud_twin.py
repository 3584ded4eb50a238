"""What pods cost: the main job on twins of Google's services and of Kubernetes, against one process.

    python -m benchmarks.cloud_twin [--n 200] [--parts 2] [--json]

A shop of ``--n`` products, each with a drawn picture, is made searchable twice from nothing. First as on one
machine: a Parquet file, a folder of objects, all steps in one process. Then as on a cluster: the catalogue in
BigQuery's emulator, objects in that of Cloud Storage, Dagster's records in PostgreSQL, the run started by its
schedule as a Kubernetes job, boxes and vectors cut into ``--parts`` pods each and the index in another, on
``tests/k8s/twin.py``, whose pods are processes of this machine. ``same_generation`` is 1 when both made the
same index: its id is a hash of all that it was made of. ``overhead`` is how many times as long the second
took, from its run being asked for to its end. There are no nodes to wait for and no images to pull here: what
is seen is what processes, records, requests and copies cost.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq

from imgsearch_assets.local.services import ROOT
from imgsearch_assets.refresh import run_refresh
from imgsearch_assets.release.publish import history
from tests.bigquery_process import emulator, gate
from tests.forked import fork
from tests.gcs_process import BUCKET, EMULATOR, GcsProcess
from tests.imgsearch_assets.warehouse.conftest import BigQueryPlace
from tests.k8s.cluster import Cluster, cluster_at, tick_the_schedule
from tests.pipeline import Shop
from tests.pipeline_run import ended
from tests.running import until
from tests.stores import opened

OBJECTS = f"gs://{BUCKET}/shop"
PATIENCE_S = 1_800.0
ENGINE = {"IMGSEARCH_ENGINE": "torch"}  # which is ready at once, in every process


def refresh(told: str) -> None:
    """In a process of its own: the seconds it takes, into the file ``told``."""
    started = time.monotonic()
    run_refresh()
    Path(told).write_text(str(time.monotonic() - started))


def on_one_machine(shop: Shop) -> tuple[str, float]:
    """The generation, and seconds."""
    home = shop.home / "one-machine"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    told = home / "seconds"
    process = fork({**shop.environment, **ENGINE, "DAGSTER_HOME": str(home)}, refresh, str(told))
    if ended(process, PATIENCE_S) != 0:
        raise SystemExit("the run in one process failed")
    return shop.released[0], float(told.read_text())


def on_the_cluster(cluster: Cluster) -> tuple[str, float, int]:
    """The generation, seconds, and how many pods that were."""
    cluster.start()
    with cluster.workspace() as workspace:
        tick_the_schedule(workspace)
    with cluster.shop.instance() as instance:
        done = dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE])
        until(lambda: instance.get_runs_count(done), "the end of the run", PATIENCE_S)
        (record,) = instance.get_run_records()
    if record.dagster_run.status is not dg.DagsterRunStatus.SUCCESS:
        raise SystemExit("the run on the cluster failed")
    seconds = (record.end_time or 0.0) - record.create_timestamp.timestamp()
    store = opened(OBJECTS, cluster.shop.home / "cache")
    return history(store, "local")[0].generation, seconds, len(cluster.twin.rendered)


@contextmanager
def google(folder: Path) -> Iterator[tuple[BigQueryPlace, GcsProcess]]:
    """A warehouse and a bucket, empty."""
    gcs = GcsProcess()
    os.environ[EMULATOR] = gcs.url
    try:
        with emulator(folder) as found, gate(found.rest) as before:
            place = BigQueryPlace(found, before)
            yield place, gcs
            place.client.close()
    finally:
        gcs.kill()


def measure(n: int, parts: int, folder: Path) -> dict[str, float | int | str]:
    with google(folder / "bigquery") as (place, gcs):
        settings = {
            **ENGINE,
            EMULATOR: gcs.url,
            "IMGSEARCH_OBJECTS": OBJECTS,
            "IMGSEARCH_HOME": str(folder / "pods"),
            "IMGSEARCH_CATALOGUE": f"bigquery:{place.table}",
            "IMGSEARCH_BIGQUERY_ENDPOINT": place.gate.url,
            "IMGSEARCH_BIGQUERY_STORAGE_ENDPOINT": place.emulator.storage,
            "IMGSEARCH_BIGQUERY_WORK_DATASET": place.work,
            "IMGSEARCH_PART_PICTURES": str(n // parts),
            "IMGSEARCH_MOST_PARTS": str(parts),
        }
        home = folder / "shop"
        home.mkdir()
        with cluster_at(home, **settings) as cluster:
            shop = cluster.shop
            shop.write(range(n))
            place.write(pq.read_table(shop.catalogue))
            local, local_s = on_one_machine(shop)
            print(f"one machine: {local} in {local_s:.1f} s", file=sys.stderr)
            shop.redis.kill()  # nothing of the first is there for the second
            shop.redis.start()
            cloud, cloud_s, pods = on_the_cluster(cluster)
    return {
        "same_generation": int(local == cloud),
        "overhead": round(cloud_s / local_s, 2),
        "local_s": round(local_s, 1),
        "cloud_s": round(cloud_s, 1),
        "pods": pods,
        "products": n,
        "generation": cloud,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=200, help="products of the shop")
    parser.add_argument("--parts", type=int, default=2, help="pods for boxes, and for vectors")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="imgsearch-bench-") as folder:
        found = measure(options.n, options.parts, Path(folder))
    print(f"\n{options.n} products, {len(os.sched_getaffinity(0))} cores")
    print(f"{'in one process, s':<24}{found['local_s']:>10}")
    print(f"{'as pods, s':<24}{found['cloud_s']:>10}")
    print(f"{'pods':<24}{found['pods']:>10}")
    print(f"{'the same generation':<24}{'yes' if found['same_generation'] else 'no':>10}")
    if options.json:
        print(json.dumps({**found, "load_before": round(busy, 1)}))


if __name__ == "__main__":
    main()
