"""The generation that is served from Milvus, whatever its alias leads to."""

import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry

from imgsearch_assets.local.processes import free_port
from serving.errors import Unavailable
from serving.index.store import Failure, point, read_pointer
from serving.milvus.client import Client
from serving.milvus.collection import alias_name, collection_name
from serving.milvus.holder import Holder
from serving.milvus.publish import follow
from serving.telemetry import IndexMetrics

ALIAS = alias_name("local")


class Swaps:
    def __init__(self) -> None:
        self.count = 0

    async def __call__(self) -> None:
        self.count += 1


def holder_of(client: Client) -> tuple[Holder, Swaps, CollectorRegistry]:
    swaps, registry = Swaps(), CollectorRegistry()
    return Holder(client, "local", IndexMetrics(registry), swaps), swaps, registry


def release(shop, milvus: Client, snapshot: str = "s1") -> str:
    manifest = shop.build(snapshot)
    point(shop.store, "local", manifest, "test", "test", read_pointer(shop.store, "local"))
    follow(shop.store, "local", milvus)
    return str(manifest.id)


async def test_it_follows_the_alias(shop, milvus: Client) -> None:
    holder, swaps, registry = holder_of(milvus)
    await holder.look()
    assert (holder.loaded, swaps.count) == (None, 0)
    assert holder.failure == Failure("", f"the alias {ALIAS} is not there yet")
    assert registry.get_sample_value("imgsearch_generation_stale") == 1
    with pytest.raises(Unavailable, match="no generation is loaded yet"):
        holder.current()
    for number, snapshot in enumerate(("s1", "s2", "s1")):
        generation = release(shop, milvus, snapshot)
        await holder.look()
        await holder.look()
        assert holder.current().about.generation == generation
        assert swaps.count == number + 1
    assert registry.get_sample_value("imgsearch_generation_products") == 60


async def test_an_alias_that_vanished_leaves_what_is_served_and_is_told(shop, milvus: Client) -> None:
    holder, _, registry = holder_of(milvus)
    generation = release(shop, milvus)
    await holder.look()
    milvus.call("drop_alias", ALIAS)
    await holder.look()
    assert holder.current().about.generation == generation
    assert holder.failure == Failure("", f"the alias {ALIAS} is gone")
    assert registry.get_sample_value("imgsearch_generation_stale") == 1


async def test_what_is_no_generation_is_not_served(shop, milvus: Client) -> None:
    holder, swaps, registry = holder_of(milvus)
    first = release(shop, milvus)
    await holder.look()
    begun = "0" * 16
    for collection, failure in (
        ("foreign", Failure("foreign", "collection foreign is no generation of ours")),
        (
            collection_name(begun),
            Failure(begun, f"collection {collection_name(begun)} was not written to the end"),
        ),
    ):
        milvus.call("create_collection", collection, dimension=4)
        milvus.call("alter_alias", collection, ALIAS)
        for _ in range(3):
            await holder.look()
        assert (holder.failure, holder.current().about.generation) == (failure, first)
    assert swaps.count == 1
    assert registry.get_sample_value("imgsearch_generation_failures_total") == 2
    follow(shop.store, "local", milvus)  # the pointer says what is right
    await holder.look()
    assert (holder.failure, holder.current().about.generation) == (None, first)


async def test_milvus_may_be_away(shop, tmp_path) -> None:
    from milvus_lite.adapter.grpc.server import start_server_in_thread

    port = free_port()
    client = Client(f"http://127.0.0.1:{port}", None, 5)
    holder, swaps, _ = holder_of(client)
    await holder.look()
    assert holder.failure == Failure("", "Milvus does not answer: describe alias")
    with pytest.raises(Unavailable, match="no generation is loaded yet"):
        holder.current()
    server, database, _ = start_server_in_thread(str(tmp_path / "milvus"), port=port)
    generation = release(shop, client)
    await holder.look()
    assert (holder.failure, swaps.count) == (None, 1)
    server.stop(grace=0).wait()
    database.close()
    await holder.look()
    assert holder.failure == Failure("", "Milvus does not answer: describe alias")
    assert holder.current().about.generation == generation
    with pytest.raises(Unavailable, match="Milvus does not answer: query"):
        holder.current().products(["p00001"])
    server, database, _ = start_server_in_thread(str(tmp_path / "milvus"), port=port)
    await holder.look()
    assert (holder.failure, swaps.count) == (None, 1)
    client.call("load_collection", collection_name(generation))  # a server would have done it
    assert len(holder.current().products(["p00001"])) == 1
    client.close()
    server.stop(grace=0).wait()
    database.close()


def test_faiss_is_not_needed_to_serve() -> None:
    code = "import sys; sys.modules['faiss'] = None; import serving.milvus.holder, serving.services.search"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_milvus_is_not_needed_to_search_in_memory() -> None:
    code = (
        "import sys; sys.modules['pymilvus'] = None; "
        "import serving.processes, serving.services.in_memory, imgsearch_assets.release.publish"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
