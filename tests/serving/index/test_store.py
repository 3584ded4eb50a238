import pytest

from serving.errors import BadInput, Conflict, NotFound, Unverified
from serving.index.store import (
    REMEMBERED,
    PointerAt,
    list_generations,
    point,
    pointer_key,
    read_manifest,
    read_pointer,
)


def test_nothing_is_live_at_first(shop) -> None:
    assert read_pointer(shop.store, "local") == PointerAt()
    assert list(list_generations(shop.store)) == []
    with pytest.raises(NotFound, match="there is no generation 0123"):
        read_manifest(shop.store, "0123")


def test_a_pointer_names_what_is_live_and_what_was(shop) -> None:
    first, second = shop.build("s1"), shop.build("s2")
    point(shop.store, "local", first, "me", "first", read_pointer(shop.store, "local"))
    pointer = point(shop.store, "local", second, "you", "better", read_pointer(shop.store, "local"))
    assert read_pointer(shop.store, "local").pointer == pointer
    assert (pointer.live.generation, pointer.live.who, pointer.live.why) == (second.id, "you", "better")
    assert pointer.previous is not None
    assert pointer.previous.generation == first.id
    assert read_manifest(shop.store, second.id, pointer.live.manifest_sha256) == second
    assert read_pointer(shop.store, "staging").pointer is None


def test_of_two_publishers_the_second_learns_that_it_lost(shop) -> None:
    first, second = shop.build("s1"), shop.build("s2")
    seen = read_pointer(shop.store, "local")
    point(shop.store, "local", first, "me", "why", seen)
    with pytest.raises(Conflict, match=r"environments/local\.json was changed by another writer"):
        point(shop.store, "local", second, "you", "why", seen)
    pointer = read_pointer(shop.store, "local").pointer
    assert pointer is not None
    assert pointer.live.generation == first.id


def test_a_pointer_forgets_what_is_long_ago(shop) -> None:
    manifests = [shop.build("s1"), shop.build("s2")]
    for number in range(REMEMBERED + 5):
        point(shop.store, "local", manifests[number % 2], "me", "why", read_pointer(shop.store, "local"))
    pointer = read_pointer(shop.store, "local").pointer
    assert pointer is not None
    assert len(pointer.history) == REMEMBERED


def test_a_release_has_an_author_and_a_reason(shop) -> None:
    with pytest.raises(BadInput, match="a release says who makes it and why"):
        point(shop.store, "local", shop.build(), "me", "", PointerAt())


def test_a_damaged_pointer_is_refused(shop) -> None:
    shop.store.put(pointer_key("local"), b'{"live": {"generation": "x"}}')
    with pytest.raises(Unverified, match=r"environments/local\.json is no pointer: live\.manifest_sha256: "):
        read_pointer(shop.store, "local")


def test_a_manifest_is_the_one_that_was_released(shop) -> None:
    first, second = shop.build("s1"), shop.build("s2")
    sha256 = point(shop.store, "local", first, "me", "why", PointerAt()).live.manifest_sha256
    shop.store.put(first.key, first.to_json() + b" ")
    with pytest.raises(
        Unverified, match=f"the manifest of generation {first.id} is not the one that was rel"
    ):
        read_manifest(shop.store, first.id, sha256)
    shop.store.put(first.key, second.to_json())
    with pytest.raises(Unverified, match=f"the manifest of generation {first.id} is that of {second.id}"):
        read_manifest(shop.store, first.id)
    shop.store.put(first.key, b"[]")
    with pytest.raises(Unverified, match=f"the manifest of generation {first.id} cannot be used: "):
        read_manifest(shop.store, first.id)
