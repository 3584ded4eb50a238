"""Real runs of a shop of six products: each gate that fails stops the release and leaves what is live."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
import redis
from typer.testing import CliRunner

from imgsearch_assets.assets import catalogue, images, index, release
from imgsearch_assets.catalogue.snapshot import live_products, products_key
from imgsearch_assets.cli import app
from imgsearch_assets.gates import generation as gates
from imgsearch_assets.gates.waivers import in_force, waive
from imgsearch_assets.graph.lineage import SCHEMAS
from imgsearch_assets.refresh import Refreshed, RefreshFailed, run_refresh
from imgsearch_assets.release.publish import status
from imgsearch_assets.sample.change import opened
from imgsearch_assets.tables import read_parquet
from serving.cache.features import FeatureStore
from tests.imgsearch_assets.small_shop import Shop, small_shop

PRODUCTS = 6
CHECKED = dg.DagsterEventType.ASSET_CHECK_EVALUATION.value
# Of the products, those with the lowest ids.
SOME = " WHERE product_id IN (SELECT product_id FROM products ORDER BY 1 LIMIT ?)"
DELETE = "DELETE FROM products"
NOWHERE = "UPDATE products SET image_urls = [image_urls[1] || '.nothing']"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with (
        pytest.MonkeyPatch.context() as patch,
        small_shop(tmp_path_factory.mktemp("shop"), PRODUCTS) as started,
    ):
        patch.setenv("IMGSEARCH_GATE_SPARE", "0")
        patch.setenv("IMGSEARCH_ENGINE", "torch")  # which is ready at once
        change(started, "UPDATE products SET image_urls = image_urls[1:1], in_stock = true")
        yield started


@pytest.fixture(scope="module")
def first(shop: Shop) -> Refreshed:
    return run_refresh()


@pytest.fixture(autouse=True)
def as_it_was(shop: Shop) -> Iterator[None]:
    """The catalogue is the same before every test."""
    kept = shop.sample.catalogue.with_suffix(".kept")
    shutil.copyfile(shop.sample.catalogue, kept)
    yield
    shutil.copyfile(kept, shop.sample.catalogue)


def change(shop: Shop, what: str, count: int = PRODUCTS) -> None:
    with opened(shop.sample.catalogue) as connection:
        connection.execute(what + SOME, [count])


def starve(patch: pytest.MonkeyPatch) -> None:
    found = gates.search

    def starving(generation: Any, query: Any, k: int, allowed: Any = None) -> Any:
        answer = found(generation, query, k, allowed)
        return answer if allowed is None else answer._replace(hits=answer.hits[:-1])

    patch.setattr(gates, "search", starving)


def forget(patch: pytest.MonkeyPatch) -> None:
    """Redis keeps nothing of what is written, as one does whose memory is full."""
    read_back = FeatureStore.differing

    def reads(self: FeatureStore, values: Any) -> list[str]:
        with redis.Redis.from_url(self._url) as client:
            client.flushall()
        return read_back(self, values)

    patch.setattr(FeatureStore, "differing", reads)


def figure(name: str, value: float) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(f"imgsearch_assets.{name}", value)


def nothing(_: pytest.MonkeyPatch) -> None:
    """The catalogue is wrong enough."""


@dataclass(frozen=True)
class Trouble:
    """What goes wrong, and what the gate says of it."""

    gate: str
    says: str
    asset: str
    change: str = ""
    of: int = 2
    settings: dict[str, str] = field(default_factory=dict)
    breaks: Callable[[pytest.MonkeyPatch], None] = nothing


TROUBLES = (
    Trouble(
        "enough_rows",
        "2 products in the snapshot, at least 3 wanted: 6 are live",
        "product_snapshot",
        DELETE,
        4,
    ),
    Trouble(
        "few_rejected",
        "2 of 6 rows rejected, at most 1 allowed",
        "product_snapshot",
        "UPDATE products SET price = -1",
    ),
    Trouble(
        "few_removed",
        "2 of 6 live products removed, at most 1 allowed",
        "catalogue_diff",
        DELETE,
    ),
    Trouble(
        "few_changed",
        "4 of 6 live products changed, at most 3 allowed",
        "catalogue_diff",
        "UPDATE products SET price = price + 1",
        4,
    ),
    Trouble(
        "few_not_downloaded",
        "2 of 6 pictures not to be had, at most 1 allowed",
        "product_images",
        NOWHERE,
    ),
    Trouble(
        "coverage",
        "4 of 6 products in stock are searchable, at least 6 wanted",
        "ann_index",
        NOWHERE,
        settings={"MAX_NOT_DOWNLOADED": "1"},
    ),
    Trouble(
        "enough_products",
        "4 products, at least 5 wanted: 6 are live",
        "ann_index",
        DELETE,
        settings={"MAX_REMOVED": "1"},
        breaks=figure("gates.generation.MAX_LOST", 0),
    ),
    Trouble(
        "recall_at_10_vs_exact",
        "recall@10 against exact 1.0000 over",
        "ann_index",
        breaks=figure("gates.generation.MIN_RECALL", 1.1),
    ),
    Trouble(
        "unit_norms",
        "a row's length is off by",
        "ann_index",
        breaks=figure("gates.generation.MAX_NORM_ERROR", -1),
    ),
    Trouble(
        "golden_queries",
        "6 of 6 products are found by their own vectors",
        "ann_index",
        breaks=figure("gates.generation.MIN_FOUND", 1.1),
    ),
    Trouble("filters_filled", "0 of ", "ann_index", breaks=starve),
    Trouble("parity", "12 vectors made again", "ann_index", breaks=figure("gates.parity.MIN_COSINE", 1.1)),
    Trouble(
        "feature_store_complete",
        "0 of 6 pictures read back from Redis as they were written; is its memory full?",
        "feature_store",
        breaks=forget,
    ),
)


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.gate)
def test_a_gate_that_fails_stops_the_release(
    shop: Shop, first: Refreshed, trouble: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = status(shop.store, "local")
    for name, value in trouble.settings.items():
        monkeypatch.setenv(f"IMGSEARCH_GATE_{name}", value)
    if trouble.change:
        change(shop, trouble.change, trouble.of)
    trouble.breaks(monkeypatch)
    with pytest.raises(RefreshFailed) as failed:
        run_refresh()
    assert str(failed.value).startswith(f"gate {trouble.gate} failed: {trouble.says}")
    assert status(shop.store, "local") == live

    events = [entry.dagster_event for entry in shop.instance.all_logs(failed.value.run_id)]
    checks = [
        event.asset_check_evaluation_data for event in events if event and event.event_type_value == CHECKED
    ]
    assert [check.check_name for check in checks if not check.passed] == [trouble.gate]
    made = [event.asset_key.to_user_string() for event in events if event and event.is_step_materialization]
    # What was seen is noted beside it, whether it is let through or not.
    assert [name for name in made if name != "product_sightings"][-1] == trouble.asset, "and nothing after it"
    starts = [event.step_key for event in events if event and event.event_type_value == "STEP_RESTARTED"]
    assert starts == [], "to try again would find the same"


def test_what_is_plotted_is_a_number(shop: Shop, first: Refreshed) -> None:
    run_refresh()
    assert shop.metadata("ann_index")["neighbours_kept"] == 1.0
    assert shop.metadata("ann_index")["recall_at_10_vs_exact"] == 1.0
    assert "change_age_s" not in shop.metadata("staging_release"), "a catalogue that is new is no change"


def test_tables_have_the_columns_that_the_graph_tells(shop: Shop, first: Refreshed) -> None:
    for asset in ("catalogue_diff", "product_images", "item_detections", "item_embeddings"):
        told = json.loads(shop.store.get(f"references/{asset}/latest.json"))
        written = read_parquet(shop.store, told["key"]).schema
        assert written.remove_metadata() == pa.schema(
            [column for column in SCHEMAS[asset] if column.name != "vector"]
        ), asset
    live = live_products(shop.store, "local")
    assert live is not None
    assert set(live.column_names) <= {*SCHEMAS["ann_index"].names, "updated_at"}


def test_every_gate_has_failed_here() -> None:
    every = [
        catalogue.SNAPSHOT_GATES,
        catalogue.DIFF_GATES,
        images.GATES,
        index.GATES,
        release.GATES,
    ]
    assert {trouble.gate for trouble in TROUBLES} == {name for gates in every for name in gates}


def test_a_person_lets_a_gate_pass_once_with_who_and_why(
    shop: Shop, first: Refreshed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setenv("COLUMNS", "200")
    change(shop, DELETE, 2)
    with pytest.raises(RefreshFailed) as failed:
        run_refresh()
    assert str(failed.value) == (
        "gate few_removed failed: 2 of 6 live products removed, at most 1 allowed; if it is meant: "
        f"imgsearch release waive few_removed --home {shop.home} --environment local --why ..., then start "
        "the job refresh"
    )
    home = ["--home", str(shop.home)]
    waiving = ["release", "waive", "few_removed", "coverage", *home, "--why", "end of season"]
    said = CliRunner().invoke(app, waiving)
    assert said.output == "the next release in local may fail few_removed, coverage; start the job refresh\n"

    assert run_refresh().indexed == 4
    released = status(shop.store, "local")
    assert released is not None
    snapshot = shop.data_version("product_snapshot")
    assert released.why == f"snapshot {snapshot}; few_removed waived by ada: end of season", "as was needed"
    newest = max(
        read_parquet(shop.store, products_key(shop.data_version("product_snapshot")))[
            "updated_at"
        ].to_pylist()
    )
    assert shop.metadata("staging_release")["change_age_s"] == released.at - newest.timestamp()
    checks = shop.instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [dg.AssetCheckKey(dg.AssetKey("catalogue_diff"), "few_removed")]
    )
    (check,) = checks.values()
    evaluation = check.evaluation
    assert evaluation is not None
    assert evaluation.passed
    assert evaluation.metadata["waived"].value == "few_removed waived by ada: end of season"
    assert in_force(shop.store, "local") == {}

    change(shop, DELETE, 2)
    with pytest.raises(RefreshFailed, match="gate few_removed failed: 2 of 4 live products removed"):
        run_refresh()


def test_a_waiver_does_not_outlive_a_release_that_died_once_it_was_made(
    shop: Shop, first: Refreshed, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = shop.metadata("ann_index")["products"]
    change(shop, DELETE, PRODUCTS - live + 2)
    waive(shop.store, "local", ["few_removed"], "ada", "end of season")

    def dies(*_: object) -> None:
        raise KeyError("dead")

    with monkeypatch.context() as patch:
        patch.setattr(release, "tidy", dies)
        with pytest.raises(RefreshFailed, match="staging_release failed: KeyError: 'dead'"):
            run_refresh()
    assert in_force(shop.store, "local") == {}
    change(shop, DELETE, 1)
    with pytest.raises(RefreshFailed, match=f"few_removed failed: 1 of {live - 2} live products removed"):
        run_refresh()
