import asyncio
import logging
import shutil

import pytest

from serving.errors import Unauthenticated, Unavailable
from serving.identity import following
from serving.identity.following import KnownKeys
from serving.identity.store import create, keys_key, revoke
from serving.object_store import LocalObjectStore


@pytest.fixture
def known(store: LocalObjectStore) -> KnownKeys:
    return KnownKeys(store, "local")


async def test_nobody_is_known_where_no_key_was_made(known: KnownKeys) -> None:
    await known.look()
    with pytest.raises(Unauthenticated, match="this API key is not known here"):
        known.holder("x", "search")


async def test_keys_come_and_go_while_it_runs(
    store: LocalObjectStore, known: KnownKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LOOK_EVERY_S", 0.01)
    key, told = create(store, "local", "a", ["search"])
    async with asyncio.timeout(20), known.followed():
        assert known.holder(told, "search") == key
        _, another = create(store, "local", "b", ["search"])
        revoke(store, "local", key.id)
        while True:
            try:
                known.holder(told, "search")
            except Unauthenticated:
                break
            await asyncio.sleep(0.01)
        assert known.holder(another, "search").name == "b"


async def test_while_they_cannot_be_read_the_last_that_could_count(
    store: LocalObjectStore, known: KnownKeys, caplog: pytest.LogCaptureFixture
) -> None:
    key, told = create(store, "local", "a", ["search"])
    await known.look()
    good = store.get(keys_key("local"))
    where = store.local_path(keys_key("local"))
    caplog.clear()
    where.write_bytes(b"{")
    await known.look()
    await known.look()
    assert known.holder(told, "search") == key
    shutil.rmtree(where.parent)  # as a folder that is no longer mounted
    await known.look()
    assert known.holder(told, "search") == key
    assert [line.levelno for line in caplog.records] == [logging.ERROR] * 2, "once each"
    assert caplog.messages[1] == (
        "the API keys cannot be read: there is no object keys/local.json; those known before count"
    )
    store.put(keys_key("local"), good)
    revoke(store, "local", key.id)
    await known.look()
    with pytest.raises(Unauthenticated, match="was revoked"):
        known.holder(told, "search")


async def test_a_process_that_never_could_read_them_says_so(
    store: LocalObjectStore, known: KnownKeys
) -> None:
    store.put(keys_key("local"), b"{")
    await known.look()
    with pytest.raises(Unavailable, match="the API keys cannot be read at the moment"):
        known.holder("x", "search")
