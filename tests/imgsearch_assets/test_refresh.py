"""The whole chain for real: a picture server, a Redis, a small shop; then the shop changes."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import pytest
import redis

from imgsearch_assets.automation import recorded_version
from imgsearch_assets.catalogue.snapshot import live_products
from imgsearch_assets.catalogue.source import catalogue_version
from imgsearch_assets.local.processes import free_port
from imgsearch_assets.refresh import Refreshed, RefreshFailed, run_refresh
from imgsearch_assets.release.publish import status
from imgsearch_assets.sample.change import add_bad_rows, change_catalogue
from serving.errors import BadInput, BadSettings
from serving.index.store import read_manifest
from serving.ledger.explained import explain
from serving.models.bundle import load_bundle, store_bundle
from serving.models.live import live_version, promote
from tests.imgsearch_assets.small_shop import Shop, small_shop

SHOP = 8
VIEWS = 3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with small_shop(tmp_path_factory.mktemp("shop"), SHOP) as started:
        yield started


@pytest.fixture(scope="module")
def first(shop: Shop) -> Refreshed:
    return run_refresh()


def test_a_catalogue_becomes_searchable(shop: Shop, first: Refreshed) -> None:
    assert first.figures() == {
        "products": SHOP,
        "pictures": SHOP * VIEWS,
        "indexed": SHOP,
        "download_failures": 0,
        "recall_at_10_vs_exact": 1.0,
        "generation": first.generation,
    }
    assert {"staging_release", "release_replay", "product_ledger"} <= set(first.seconds)
    assert all(value > 0 for value in first.seconds.values())
    released = status(shop.store, "local")
    assert released is not None
    assert (released.generation, released.who) == (first.generation, "dagster")
    assert shop.metadata("product_images")["downloaded"] == SHOP * VIEWS
    assert shop.metadata("item_detections")["detected"] == SHOP * VIEWS
    assert shop.metadata("item_embeddings")["embedded"] >= SHOP * VIEWS
    with redis.Redis.from_url(shop.redis_url) as client:
        embedder = str(shop.metadata("item_embedder")["version"])
        assert shop.metadata("feature_store")["wanted"] == client.exists(*shop.feature_keys(embedder))
        assert client.dbsize() == SHOP * VIEWS, "of pictures, and of nothing else"


def test_what_it_saw_is_recorded_so_that_nothing_starts_afterwards(shop: Shop, first: Refreshed) -> None:
    assert recorded_version(shop.instance) == catalogue_version(str(shop.sample.catalogue))


def test_every_step_has_pictures_tables_and_a_data_version(shop: Shop, first: Refreshed) -> None:
    for asset, name in (
        ("product_images", "new_pictures"),
        ("item_detections", "boxes"),
        ("ann_index", "neighbours"),
    ):
        assert "](data:image/jpeg;base64,/9j/" in shop.metadata(asset)[name]
    assert "| product_id |" in shop.metadata("product_snapshot")["products"]
    assert shop.data_version("ann_index") == shop.data_version("staging_release") == first.generation
    assert shop.data_version("item_detector") == shop.metadata("item_detector")["version"]


def test_gates_are_recorded_as_checks(shop: Shop, first: Refreshed) -> None:
    passed = set()
    for entry in shop.instance.all_logs(first.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        assert entry.dagster_event is not None
        check = entry.dagster_event.asset_check_evaluation_data
        assert check.passed
        passed.add(check.check_name)
    assert passed == {
        "enough_rows",
        "few_rejected",
        "few_removed",
        "few_changed",
        "few_not_downloaded",
        "coverage",
        "feature_store_complete",
        "enough_products",
        "recall_at_10_vs_exact",
        "unit_norms",
        "golden_queries",
        "filters_filled",
        "parity",
        "replay_overlap",
        "not_worse_than_live",
        "new_to_searchable",
        "sold_to_hidden",
    }


def test_the_same_catalogue_again_does_nothing(shop: Shop, first: Refreshed) -> None:
    served = shop.served()
    same = first.seconds.keys() - {"catalogue_diff"}  # everything was new, now nothing is
    versions = {asset: shop.data_version(asset) for asset in same}
    again = run_refresh()
    assert again.figures() == first.figures()
    assert shop.served() == served
    assert {asset: shop.data_version(asset) for asset in same} == versions
    assert shop.metadata("catalogue_diff")["unchanged"] == SHOP
    assert shop.metadata("product_images")["downloaded"] == 0
    assert shop.metadata("item_detections")["detected"] == 0
    assert shop.metadata("item_embeddings")["embedded"] == 0
    assert shop.metadata("feature_store")["written"] == 0


def test_a_change_moves_only_what_changed(shop: Shop, first: Refreshed) -> None:
    before = shop.served()
    change = change_catalogue(shop.sample, add=2, remove=1, repicture=2, seed=3)
    refreshed = run_refresh()
    assert refreshed.generation != first.generation
    assert refreshed.indexed == refreshed.products == SHOP + 2 - 1

    diff = shop.metadata("catalogue_diff")
    assert (diff["new"], diff["removed"]) == (2, 1)
    assert (diff["repictured"], diff["touched"]) == (len(change.new_url), len(change.same_url))
    assert diff["unchanged"] == SHOP - 1 - 2
    said, _, table = diff["changes"].partition("\n")
    assert said == "new 2, removed 1, " + ", ".join(
        f"{name} {diff[name]}" for name in ("repictured", "touched") if diff[name]
    )
    assert all(name in table for name in (*change.added, *change.removed))
    # Two new products; one picture at a new URL; one behind an old URL, whose neighbours are asked for too.
    images = shop.metadata("product_images")
    assert images["downloaded"] == 2 * VIEWS + len(change.new_url) + len(change.same_url)
    assert images["not_modified"] == (VIEWS - 1) * 2
    asked = shop.served() - before
    assert asked.total() == images["downloaded"] + images["not_modified"]
    assert shop.metadata("item_detections")["detected"] == images["downloaded"]
    assert images["downloaded"] <= shop.metadata("item_embeddings")["embedded"] <= 2 * images["downloaded"]
    for name in ("item_detections", "item_embeddings"):
        rows = shop.metadata(name)["items"].splitlines()[2:]
        shown = {row.split(" ")[1] for row in rows}
        assert shown <= {*change.added, *change.new_url, *change.same_url}, "what is new"
    assert shop.metadata("feature_store")["written"] == images["downloaded"]

    live = live_products(shop.store, "local")
    assert live is not None
    ids = set(live["product_id"].to_pylist())
    assert set(change.added) <= ids
    assert not set(change.removed) & ids

    sighted, ledger = shop.metadata("product_sightings"), shop.metadata("product_ledger")
    assert (sighted["new"], sighted["removed"], ledger["local_came"], ledger["local_went"]) == (2, 1, 2, 1)
    assert ledger["local_changed"] == len(change.new_url) + len(change.same_url)
    assert (sighted["rejected"], sighted["reattributed"]) == (0, 0), "no gap in a plot"
    assert {"came 2", "went 1"} <= set(ledger["changes"].splitlines()[0].split(", "))
    assert ledger["new_to_searchable_count"] == SHOP + 2
    assert 0 < ledger["new_to_searchable_p50_s"] <= ledger["new_to_searchable_p95_s"]
    told = [explain(shop.store, "local", name) for name in (*change.added, *change.removed)]
    assert [one.verdict for one in told] == ["live", "live", "removed"]
    times = [stage.at for stage in told[0].stages if stage.stage != "in_stock"]
    assert times == sorted(times), "each stage after the one before"


def test_bad_rows_end_as_rows_with_reasons_and_the_rest_is_searchable(shop: Shop, first: Refreshed) -> None:
    good = SHOP + 2 - 1
    bad = add_bad_rows(shop.sample)
    refreshed = run_refresh()
    assert refreshed.indexed == good
    assert refreshed.download_failures == 3
    snapshot = shop.metadata("product_snapshot")
    for reason in ("missing_id", "duplicate_id", "no_picture", "bad_url"):
        assert f"| {reason} | 1 |" in snapshot["rejected_by_reason"]
    assert snapshot["rejected"] == 4
    failures = shop.metadata("product_images")["failed_by_reason"]
    for reason in ("not_found", "not_an_image", "too_many_pixels"):
        assert f"| {reason} | 1 |" in failures
    live = live_products(shop.store, "local")
    assert live is not None
    assert not [name for name in live["product_id"].to_pylist() if "bad" in name.lower()], bad

    before = shop.served()
    run_refresh()
    assert shop.served() == before, "failures that will not pass are not asked for again"
    assert shop.metadata("product_images")["waiting"] == 3


def test_a_failed_gate_leaves_what_is_live_and_is_named(
    shop: Shop, first: Refreshed, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = status(shop.store, "local")
    monkeypatch.setattr("imgsearch_assets.gates.generation.MIN_RECALL", 1.1)
    with pytest.raises(RefreshFailed) as failed:
        run_refresh()
    assert str(failed.value) == (
        "gate recall_at_10_vs_exact failed: recall@10 against exact 1.0000 over "
        f"{3 * int(shop.metadata('ann_index')['vectors'])} queries, at least 1.1 wanted"
    )
    assert status(shop.store, "local") == live
    run = shop.instance.get_run_by_id(failed.value.run_id)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.FAILURE


def test_a_step_that_fails_is_named_with_its_reason(
    shop: Shop, first: Refreshed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGSEARCH_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(RefreshFailed, match=r"^feature_store failed: the feature store does not answer: "):
        run_refresh()


def test_a_catalogue_that_cannot_be_read_starts_no_run(
    shop: Shop, first: Refreshed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = shop.instance.get_runs_count()
    live = status(shop.store, "local")
    empty = tmp_path / "empty.duckdb"
    with duckdb.connect(str(empty)) as connection:
        connection.execute(f"ATTACH '{shop.sample.catalogue}' AS full_one (READ_ONLY)")
        connection.execute("CREATE TABLE products AS SELECT * FROM full_one.products LIMIT 0")
    monkeypatch.setenv("IMGSEARCH_CATALOGUE", str(empty))
    with pytest.raises(BadInput, match="has no rows; what is live stays as it is"):
        run_refresh()
    monkeypatch.delenv("IMGSEARCH_CATALOGUE")
    with pytest.raises(BadSettings, match="IMGSEARCH_CATALOGUE is not set"):
        run_refresh()
    assert shop.instance.get_runs_count() == runs
    assert status(shop.store, "local") == live


def test_without_a_dagster_home_it_says_so(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, first: Refreshed
) -> None:
    monkeypatch.delenv("DAGSTER_HOME")
    with pytest.raises(BadSettings, match="DAGSTER_HOME is not set"):
        run_refresh()


def test_an_embedder_that_a_researcher_promoted_is_released_and_stays(shop: Shop, first: Refreshed) -> None:
    live = load_bundle(shop.store, "embedder")
    projection = {name: live.tensors[name][:24] for name in ("project.weight", "project.bias")}
    own = store_bundle(
        shop.store, "embedder", {**live.tensors, **projection}, live.card.preprocessing, dim=24
    )
    promote(shop.store, own, live.version, who="Ada", why="shorter vectors")
    again = run_refresh()
    manifest = read_manifest(shop.store, again.generation)
    assert (manifest.embedder, manifest.dim) == (own.version, 24)
    assert live_version(shop.store, "embedder") == own.version
    # The old ones are still there: a roll-back of the release needs them.
    with redis.Redis.from_url(shop.redis_url) as client:
        for version in (live.version, own.version):
            keys = shop.feature_keys(version)
            assert client.exists(*keys) == len(keys)
