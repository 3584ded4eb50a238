"""The whole chain with the object store in a bucket, as far as an answer of the search service."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from imgsearch_assets.catalogue.snapshot import live_products
from imgsearch_assets.local.installation import objects_of
from imgsearch_assets.refresh import run_refresh
from imgsearch_assets.release.publish import history
from serving.bucket.store import BucketObjectStore
from serving.proto import search_pb2, search_pb2_grpc
from tests.gcs_process import BUCKET, EMULATOR, GcsProcess
from tests.imgsearch_assets.small_shop import Shop, small_shop
from tests.serving.processes import starting

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PRODUCTS = 12


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    gcs = GcsProcess()
    monkeypatch.setenv(EMULATOR, gcs.url)
    monkeypatch.setenv("IMGSEARCH_OBJECTS", f"gs://{BUCKET}/shop")
    with small_shop(tmp_path / "pipeline", PRODUCTS) as started:
        yield started
    gcs.kill()


def test_a_catalogue_becomes_searchable_by_way_of_a_bucket(shop: Shop, tmp_path: Path) -> None:
    made = run_refresh()
    assert made.indexed >= PRODUCTS - 2
    assert not (shop.home / "objects").exists(), "nothing is kept beside the bucket"
    store = objects_of(shop.home)
    assert isinstance(store, BucketObjectStore)
    assert [release.generation for release in history(store, "local")] == [made.generation]
    live = live_products(store, "local")
    assert live is not None
    elsewhere = tmp_path / "serving"  # a machine that shares nothing else
    elsewhere.mkdir()
    with starting(elsewhere) as start:
        _, address = start("search")
        with grpc.insecure_channel(address) as channel:
            stub = search_pb2_grpc.SearchStub(channel)
            assert stub.Status(search_pb2.StatusRequest(), timeout=10).generation == made.generation
            queries = [search_pb2.Query(product_id=live["product_id"][0].as_py(), k=3)]
            reply = stub.Search(search_pb2.SearchRequest(queries=queries), timeout=10)
    assert reply.generation == made.generation
    assert len(reply.results[0].hits) == 3
