"""What a store in a bucket has that a folder has not; the rest is `tests/serving/test_object_store.py`."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.bucket.blobs import Blobs
from serving.bucket.files import Files
from serving.bucket.store import BucketObjectStore
from serving.errors import Conflict, Unverified
from serving.index.artifact import load, write_segment
from serving.index.store import verify
from serving.location import Bucket
from tests.gcs_process import BUCKET, EMULATOR, GcsProcess


class Network(Blobs):
    """``behind`` so many downloads another writer is faster."""

    behind = 0

    def download(self, *arguments: object) -> bool:
        if self.behind:
            self.behind -= 1
            return False
        return super().download(*arguments)  # type: ignore[arg-type]


@pytest.fixture
def blobs(gcs: GcsProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    monkeypatch.setenv(EMULATOR, gcs.url)
    found = Network(Bucket(BUCKET, uuid.uuid4().hex))
    yield found
    found.close()


@pytest.fixture
def store(blobs: Network, tmp_path: Path) -> BucketObjectStore:
    return BucketObjectStore(blobs, Files(tmp_path / "cache", 2**30))


def test_a_file_that_is_damaged_here_is_fetched_anew(store: BucketObjectStore) -> None:
    segment = write_segment(store, "base", b"what it should be")
    path = store.local_path(segment.key)
    path.write_bytes(b"what it cannot be")
    with pytest.raises(Unverified, match="does not have the hash that its name says"):
        verify(store, segment)
    verify(store, segment)
    assert store.local_path(segment.key).read_bytes() == b"what it should be"


def test_a_file_is_of_the_generation_that_is_there(store: BucketObjectStore, blobs: Network) -> None:
    store.put("a", b"one")
    assert store.local_path("a").read_bytes() == b"one"
    store.renew("a")
    blobs.behind = 9
    assert store.local_path("a").read_bytes() == b"one", "which is not fetched a second time"
    blobs.behind = 2
    store.put("a", b"two")
    assert store.local_path("a").read_bytes() == b"two"
    store.put("a", b"three")
    blobs.behind = 3
    with pytest.raises(Conflict, match="a is changed all the time; it cannot be read as a file"):
        store.local_path("a")


def test_a_generation_loads_from_it(store: BucketObjectStore, shop) -> None:
    shop.store = store
    manifest = shop.without(shop.build(), shop.ids[:2])
    assert load(store, manifest).products_there == manifest.products
    assert shop.build() == shop.build(), "and once it is whole nothing is written"
