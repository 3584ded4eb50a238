from typing import Any

import pytest

from serving.errors import BadInput, Conflict, NotFound, Unverified
from serving.index.release import promote, rollback, verify_files
from serving.index.store import point, pointer_key, read_pointer


def release(shop: Any, environment: str, manifest: Any) -> None:
    point(shop.store, environment, manifest, "me", "test", read_pointer(shop.store, environment))


def live(shop: Any, environment: str) -> str | None:
    pointer = read_pointer(shop.store, environment).pointer
    return pointer.live.generation if pointer else None


def test_what_was_live_elsewhere_is_made_live(shop: Any) -> None:
    first, second = shop.build("s1"), shop.build("s2")
    release(shop, "staging", first)
    release(shop, "staging", second)
    for manifest in (second, first):
        pointer = promote(shop.store, "production", manifest.id, "me", "why")
        assert (pointer.live.generation, pointer.live.who, pointer.live.why) == (manifest.id, "me", "why")
    assert promote(shop.store, "production", first.id, "you", "again") == pointer, "it is live already"


def test_what_passed_no_gates_stays_out(shop: Any) -> None:
    release(shop, "local", shop.build("s1"))
    other = shop.build("s2")
    shop.store.put(pointer_key("staging"), b"{}")  # of which nothing can be known
    with pytest.raises(BadInput, match=f"generation {other.id} was never live, so it passed no gates"):
        promote(shop.store, "local", other.id, "me", "why")
    with pytest.raises(NotFound, match="there is no generation 0123456789abcdef"):
        promote(shop.store, "local", "0123456789abcdef", "me", "why")


def test_a_damaged_generation_is_made_live_by_nobody(shop: Any) -> None:
    first, second = shop.build("s1"), shop.build("s2")
    release(shop, "local", first)
    release(shop, "local", second)
    release(shop, "staging", first)
    path = shop.store.local_path(first.segments[0].key)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(Unverified, match="does not have the hash that its name says"):
        promote(shop.store, "local", first.id, "me", "why")
    with pytest.raises(Unverified, match=f"generation {first.id} cannot be gone back to: segments/"):
        rollback(shop.store, "local", "me", "why", None, lambda found: verify_files(shop.store, found))
    assert live(shop, "local") == second.id


def test_what_was_rolled_back_from_elsewhere_is_made_live_when_it_is_live_there_again(shop: Any) -> None:
    first, second = shop.build("s1"), shop.build("s2")
    release(shop, "staging", first)
    release(shop, "staging", second)
    rollback(shop.store, "staging", "op", "wrong shoes", None, lambda _: None)
    with pytest.raises(Conflict) as error:
        promote(shop.store, "production", second.id, "me", "why")
    assert str(error.value) == (
        f"op rolled staging back from generation {second.id}: wrong shoes; promote {first.id}, which is live "
        f"there, or release {second.id} there again first"
    )
    assert live(shop, "production") is None
    release(shop, "staging", second)
    assert promote(shop.store, "production", second.id, "me", "why").live.generation == second.id
