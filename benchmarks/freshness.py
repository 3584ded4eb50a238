"""How long from a change of the catalogue until a search finds it, by itself.

    python -m benchmarks.freshness [--n 10000] [--changes 1 100 1000] [--rounds 3] [--home FOLDER] [--json]

A shop of ``--n`` drawn products with its services, its stock feed and Dagster's daemon and UI, as ``imgsearch
demo`` leaves it. At first nothing changes, then the catalogue is written with what it holds already:
``runs_without_change`` counts the runs that this started. Then so many products are put on sale at once. From
that write until an upload of the picture of one finds it is ``change_to_searchable_s``, asked for every
``ASK_EVERY_S``; then all must be there. ``change_to_searchable_p50_s`` is that of ``GOAL`` products. Stages,
by Dagster's events: "seen" until its sensor has, "started" until the run's first step starts, then each step
from the end of the one before, "served" from the end of the release until the search, below 0 where a search
found it while the release was still verified. Last, products are sold
one by one, while the runs go on that this starts: from the write until they are no longer shown as like
another is ``sold_to_hidden_s``.

What is made once, drawn and embedded, is kept in ``--home``.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import dagster as dg
import httpx

from benchmarks._shop import Shop, shop
from imgsearch_assets.automation import PRODUCTS
from imgsearch_assets.sample.change import change_catalogue, opened

GOAL = 100
ASK_EVERY_S = 0.25
WATCH_EVERY_S = 0.02
PATIENCE_S = 900.0
RELEASE = "staging_release"
Events = dg.DagsterEventType
_DONE = dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE])


@dataclass(frozen=True)
class Found:
    """One change: seconds until a search found it, and of each stage of the way."""

    seconds: float
    stages: dict[str, float]


def until(what: Callable[[], bool], every_s: float, said: str) -> float:
    """Seconds since 1970 when ``what`` was first seen."""
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > deadline:
            raise SystemExit(f"{said} did not come within {PATIENCE_S:.0f} s")
        time.sleep(every_s)
    return time.time()


@dataclass(frozen=True)
class Live:
    """A shop whose catalogue is followed."""

    shop: Shop
    instance: dg.DagsterInstance
    client: httpx.Client

    def is_idle(self) -> bool:
        return self.instance.get_runs_count(_DONE) == self.instance.get_runs_count()

    def settle(self) -> None:
        """Return when no run is in work, nor comes within the time that a change takes to be seen."""
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 12:
            if not self.is_idle():
                quiet_since = time.monotonic()
            time.sleep(0.5)

    def finds(self, picture: bytes, product_id: str) -> bool:
        files = {"image": ("new.jpg", picture, "image/jpeg")}
        asked = {"k": "10", "filters": '{"in_stock_only": false}'}  # what is new may be sold out
        reply = self.client.post("/v1/search/image", files=files, data=asked).raise_for_status()
        return product_id in {hit["product_id"] for hit in reply.json()["results"]}

    def similar(self, product_id: str) -> list[str]:
        reply = self.client.get(f"/v1/products/{product_id}/similar", params={"k": 10}).raise_for_status()
        return [hit["product_id"] for hit in reply.json()["results"]]

    def runs_without_change(self, seconds: float) -> int:
        before = self.instance.get_runs_count()
        time.sleep(seconds)
        with opened(self.shop.sample.catalogue) as catalogue:
            catalogue.execute("UPDATE products SET in_stock = in_stock")
        time.sleep(seconds)
        return self.instance.get_runs_count() - before

    def change(self, count: int, seed: int) -> Found:
        added = change_catalogue(self.shop.sample, add=count, remove=0, repicture=0, seed=seed).added
        written = time.time()
        last = added[-1]
        with opened(self.shop.sample.catalogue) as catalogue:
            row = catalogue.execute("SELECT image_urls FROM products WHERE product_id = ?", [last]).fetchone()
        assert row is not None
        picture = self.shop.sample.file_of(row[0][0]).read_bytes()
        found = until(lambda: self.finds(picture, last), ASK_EVERY_S, last)
        for product_id in added:
            self.client.get(f"/v1/products/{product_id}").raise_for_status()
        self.settle()
        return Found(found - written, self.stages(written, found))

    def stages(self, written: float, found: float) -> dict[str, float]:
        """Seconds of each, of the run that released what was found."""
        sighting = self.instance.get_latest_materialization_event(PRODUCTS)
        assert sighting is not None
        at = sighting.timestamp
        stages = {"seen": at - written}
        for run in reversed(self.instance.get_run_records()):
            if run.create_timestamp.timestamp() < written:
                continue
            for entry in self.instance.all_logs(run.dagster_run.run_id):
                event = entry.dagster_event
                if event is None or event.event_type not in (Events.STEP_START, Events.STEP_SUCCESS):
                    continue
                if event.event_type == Events.STEP_SUCCESS:
                    stages[str(event.step_key)] = entry.timestamp - at
                    at = entry.timestamp
                    if event.step_key == RELEASE:
                        return {**stages, "served": found - at}
                elif "started" not in stages:
                    stages["started"] = entry.timestamp - at
                    at = entry.timestamp
        raise SystemExit("no run released what was found")

    def sale(self, product_id: str, sold: str) -> float:
        """Seconds from the sale until ``sold`` is no longer shown as like ``product_id``."""
        with opened(self.shop.sample.catalogue) as catalogue:
            catalogue.execute("UPDATE products SET in_stock = false WHERE product_id = ?", [sold])
        written = time.time()
        return until(lambda: sold not in self.similar(product_id), WATCH_EVERY_S, f"{sold}'s end") - written


@contextmanager
def followed(products: int, home: Path) -> Iterator[Live]:
    with shop(products, 1, home) as running:
        folder = Path(os.environ["DAGSTER_HOME"])
        print("starting Dagster", file=sys.stderr)
        witnesses = {
            "IMGSEARCH_STAGING_SEARCH_ADDRESS": running.addresses["IMGSEARCH_SEARCH_ADDRESS"],
            "IMGSEARCH_STAGING_API_URL": running.services.api_url,
        }
        running.services.start_dagster(folder, **witnesses)
        with (
            dg.DagsterInstance.from_config(str(folder)) as instance,
            httpx.Client(base_url=running.services.api_url, timeout=60) as client,
        ):
            live = Live(running, instance, client)
            live.settle()
            yield live


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=10_000, help="products of the shop")
    parser.add_argument("--changes", type=int, nargs="+", default=[1, GOAL, 1000], help="products at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sales", type=int, default=10)
    parser.add_argument("--quiet-seconds", type=float, default=30.0, help="without a change, twice")
    parser.add_argument("--home", type=Path, help="where the shop is kept")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    busy = os.getloadavg()[0]
    found: dict[int, list[Found]] = {count: [] for count in options.changes}
    with tempfile.TemporaryDirectory(prefix="imgsearch-bench-") as temporary:
        home = (options.home or Path(temporary)).absolute()
        with followed(options.n, home) as live:
            without = live.runs_without_change(options.quiet_seconds)
            for number in range(options.rounds):
                for count in options.changes:
                    one = live.change(count, seed=number)
                    found[count].append(one)
                    print(f"{count} new: {one.seconds:.1f} s {rounded(one.stages)}", file=sys.stderr)
            asked = live.shop.product_ids[0]
            sales = [live.sale(asked, sold) for sold in live.similar(asked)[: options.sales]]
            products = live.client.get("/v1/status").json()["products"]
    seconds = {count: median(one.seconds for one in found[count]) for count in options.changes}
    stages = {count: medians([one.stages for one in found[count]]) for count in options.changes}
    print(f"\n{products:,} products, {options.rounds} rounds, {len(os.sched_getaffinity(0))} cores")
    print(f"{'new products':<24}" + "".join(f"{count:>10,}" for count in options.changes))
    print(f"{'to searchable, s':<24}" + "".join(f"{seconds[count]:>10.1f}" for count in options.changes))
    for name in stages[options.changes[0]]:
        print(f"  {name:<22}" + "".join(f"{stages[count].get(name, 0):>10.2f}" for count in options.changes))
    print(f"{'sold to hidden, s':<24}{median(sales):>10.2f}")
    print(f"{'runs without change':<24}{without:>10}")
    if options.json:
        goal = {"change_to_searchable_p50_s": round(seconds[GOAL], 1)} if GOAL in seconds else {}
        print(
            json.dumps(
                {
                    **goal,
                    "sold_to_hidden_p50_s": round(median(sales), 2),
                    "sold_to_hidden_max_s": round(max(sales), 2),
                    "runs_without_change": without,
                    "change_to_searchable_s": {
                        count: [round(one.seconds, 1) for one in found[count]] for count in found
                    },
                    "stages_s": {count: rounded(stages[count]) for count in stages},
                    "products": products,
                    "load_before": round(busy, 1),
                }
            )
        )


def medians(each: list[dict[str, float]]) -> dict[str, float]:
    return {name: median(one.get(name, 0.0) for one in each) for name in each[0]}


def rounded(stages: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in stages.items()}


if __name__ == "__main__":
    main()
