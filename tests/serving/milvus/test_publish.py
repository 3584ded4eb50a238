"""Writing generations into Milvus, and the alias that follows the pointer."""

from serving.index.store import point, read_pointer
from serving.milvus.client import Client
from serving.milvus.collection import alias_name, collection_name
from serving.milvus.publish import follow


def release(shop, snapshot: str) -> str:
    manifest = shop.build(snapshot)
    point(shop.store, "local", manifest, "test", "test", read_pointer(shop.store, "local"))
    return str(manifest.id)


def test_the_alias_follows_the_pointer(shop, milvus: Client) -> None:
    assert follow(shop.store, "local", milvus) is None
    first = release(shop, "s1")
    done = follow(shop.store, "local", milvus)
    assert done is not None
    assert (done.generation, done.written) == (first, True)
    assert milvus.target_of(alias_name("local")) == collection_name(first)
    again = follow(shop.store, "local", milvus)
    assert again is not None
    assert not again.written
