import threading
import time

import pytest

from serving.errors import NotFound, Unverified
from serving.identity.store import create, keys_key, read_keys, revoke, rotate
from serving.object_store import LocalObjectStore


def test_keys_are_kept_by_environment(store: LocalObjectStore) -> None:
    assert read_keys(store, "local").keys == ()
    key, told = create(store, "local", "a", ["search"], rate="600/minute")
    assert read_keys(store, "local").holder(told, "search", time.time()) == key
    assert read_keys(store, "production").keys == ()
    assert told.rpartition("_")[2].encode() not in store.get(keys_key("local"))


def test_revoked_and_rotated(store: LocalObjectStore) -> None:
    key, _ = create(store, "local", "a", ["search"])
    rotated, told = rotate(store, "local", key.id)
    assert rotated.sha256 != key.sha256
    assert read_keys(store, "local").holder(told, "search", time.time()) == rotated
    assert revoke(store, "local", key.id).revoked_at is not None
    assert read_keys(store, "local").get(key.id).state(time.time()) == "revoked"
    for change in (revoke, rotate):
        with pytest.raises(NotFound, match="there is no API key 0123456789ab"):
            change(store, "local", "0123456789ab")


def test_of_many_at_once_none_is_lost(store: LocalObjectStore) -> None:
    names = [str(number) for number in range(8)]
    threads = [threading.Thread(target=create, args=(store, "local", name, ["search"])) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key.name for key in read_keys(store, "local").keys) == names


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the whole: Invalid JSON"),
        (b'{"format": 2, "keys": []}', "format: Input should be 1"),
        (b'{"keys": [{"id": "x"}]}', r"keys\.0\.id: String should match pattern"),
    ],
)
def test_a_damaged_list_is_not_written_over(store: LocalObjectStore, data: bytes, said: str) -> None:
    store.put(keys_key("local"), data)
    for change in (read_keys, lambda *which: create(*which, "a", ["search"])):
        with pytest.raises(Unverified, match=rf"keys/local\.json is no list of API keys: {said}.*put back"):
            change(store, "local")
    assert store.get(keys_key("local")) == data
