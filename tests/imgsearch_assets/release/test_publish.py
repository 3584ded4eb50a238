import threading

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgsearch_assets.catalogue.snapshot import live_manifest, live_products
from imgsearch_assets.index.generation import build_delta
from imgsearch_assets.release.publish import history, publish, rollback, status
from imgsearch_assets.release.retention import prune
from serving.errors import Conflict, NotFound, Unverified
from serving.index.artifact import load
from serving.index.generation import Manifest
from serving.index.store import point, pointer_key, read_manifest, read_pointer


def test_releases_and_the_way_back(shop) -> None:
    assert status(shop.store, "local") is None
    assert history(shop.store, "local") == []
    ids = [shop.build(name).id for name in ("s1", "s2", "s3")]
    for generation in ids:
        publish(shop.store, "local", generation, "me", "newer")
    assert [release.generation for release in history(shop.store, "local")] == ids[::-1]
    assert rollback(shop.store, "local", "me", "bad").live.generation == ids[1]
    assert rollback(shop.store, "local", "me", "bad too").live.generation == ids[0], (
        "never back to what was bad"
    )
    with pytest.raises(NotFound, match="there is no earlier generation in local to go back to"):
        rollback(shop.store, "local", "me", "all bad")
    live = rollback(shop.store, "local", "me", "it was good after all", to=ids[2]).live
    assert (live.generation, live.rolled_back_from) == (ids[2], ids[0])
    assert status(shop.store, "local") == live


def test_what_is_live_already_is_left(shop) -> None:
    manifest = shop.build()
    first = publish(shop.store, "local", manifest.id, "me", "why")
    assert publish(shop.store, "local", manifest.id, "you", "again") == first


def test_what_is_not_there_is_not_released(shop) -> None:
    with pytest.raises(NotFound, match="there is no generation 0123456789abcdef"):
        publish(shop.store, "local", "0123456789abcdef", "me", "why")
    with pytest.raises(NotFound, match="nothing was ever released in local"):
        rollback(shop.store, "local", "me", "why")
    publish(shop.store, "local", shop.build("s1").id, "me", "why")
    other = shop.build("s2").id
    with pytest.raises(NotFound, match=f"generation {other} was not live in local before"):
        rollback(shop.store, "local", "me", "why", to=other)


def test_a_gate_keeps_the_pointer_and_can_be_waived(shop) -> None:
    good = shop.build("s1")
    publish(shop.store, "local", good.id, "me", "why")
    shop.vectors = shop.vectors * 1.01
    bad = shop.build("s2")
    with pytest.raises(
        Unverified, match=f"generation {bad.id} stays out of local: unit_norms: a row's length"
    ):
        publish(shop.store, "local", bad.id, "me", "why")
    assert history(shop.store, "local")[0].generation == good.id
    publish(shop.store, "local", bad.id, "me", "as it is", waive=frozenset({"unit_norms"}))
    assert history(shop.store, "local")[0].generation == bad.id


def test_a_damaged_generation_is_not_released_and_not_gone_back_to(shop) -> None:
    first, second = shop.build("s1"), shop.build("s2", detector="other")
    publish(shop.store, "local", first.id, "me", "why")
    publish(shop.store, "local", second.id, "me", "why")
    shop.store.put(first.key, first.to_json()[:-1])
    with pytest.raises(Unverified, match=f"the manifest of generation {first.id} cannot be used"):
        rollback(shop.store, "local", "me", "why")
    base = second.segment("base").key
    shop.store.put(base, shop.store.get(base)[:-1] + b"?")
    with pytest.raises(Unverified, match="does not have the hash"):
        publish(shop.store, "staging", second.id, "me", "why")
    assert status(shop.store, "staging") is None


class Killed(BaseException):
    """What a SIGKILL looks like from inside: nothing after it runs."""


class Mortal:
    """A store whose user dies right after the ``after``-th write."""

    def __init__(self, store, after: int) -> None:
        self._store, self._left = store, after

    def __getattr__(self, name):
        return getattr(self._store, name)

    def _written(self) -> None:
        self._left -= 1
        if not self._left:
            raise Killed

    def put(self, key, data) -> None:
        self._store.put(key, data)
        self._written()

    def compare_and_set(self, key, data, expected):
        version = self._store.compare_and_set(key, data, expected)
        self._written()
        return version


WRITES = ("products", "graph", "manifest", "pointer")  # the items are those of the old generation


@pytest.mark.parametrize("last", WRITES)
def test_a_publisher_killed_after_any_write_leaves_the_old_or_the_new(shop, last: str) -> None:
    old = shop.build("s1")
    publish(shop.store, "local", old.id, "me", "why")
    whole = shop.store
    shop.vectors = shop.vectors[:, ::-1].copy()
    shop.products = shop.products.append_column("day", shop.products["price"])
    shop.store = Mortal(whole, WRITES.index(last) + 1)
    with pytest.raises(Killed):
        publish(shop.store, "local", shop.build("s2").id, "me", "why")
    live = history(whole, "local")[0]
    load(whole, read_manifest(whole, live.generation, live.manifest_sha256))
    assert (live.generation == old.id) == (last != "pointer")

    shop.store = whole
    new = shop.build("s2")
    assert publish(whole, "local", new.id, "me", "again").live.generation == new.id
    load(whole, new)


DELTA_WRITES = ("items", "products", "removed", "manifest", "pointer")


@pytest.mark.parametrize("last", DELTA_WRITES)
def test_a_publisher_of_a_delta_killed_after_any_write_leaves_the_old_or_the_new(shop, last: str) -> None:
    old = shop.build("s1")
    publish(shop.store, "local", old.id, "me", "why")
    name = shop.ids[0]
    own = shop.items["product_id"].to_numpy(zero_copy_only=False) == name
    products = shop.products.slice(0, 1)

    def changed(store) -> Manifest:
        items, vectors = shop.items.filter(pa.array(own)), shop.vectors[own]
        return build_delta(store, old, products, items, vectors, [name], snapshot="s2")

    mortal = Mortal(shop.store, DELTA_WRITES.index(last) + 1)
    with pytest.raises(Killed):
        publish(mortal, "local", changed(mortal).id, "me", "why")
    live = history(shop.store, "local")[0]
    load(shop.store, read_manifest(shop.store, live.generation, live.manifest_sha256))
    assert (live.generation == old.id) == (last != "pointer")

    new = changed(shop.store)
    assert publish(shop.store, "local", new.id, "me", "again").live.generation == new.id
    assert load(shop.store, new).products_there == old.products


def test_only_what_is_new_is_looked_at_on_a_base_that_is_live(shop) -> None:
    old = shop.build("s1")
    publish(shop.store, "local", old.id, "me", "why")
    base = old.segment("base")
    whole = shop.store.get(base.key)
    new = shop.without(old, shop.ids[:2])
    shop.store.put(base.key, whole[:-1] + b"?")
    publish(shop.store, "local", new.id, "me", "the base passed its gates before")
    with pytest.raises(Unverified, match="does not have the hash"):
        publish(shop.store, "staging", new.id, "me", "here it did not")


moves = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["see", "point"])), min_size=4, max_size=20)


@given(moves)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_two_publishers_in_any_order_leave_a_pointer_that_loads(shop, moves) -> None:
    """Each sees the pointer and moves it, in whatever order; who saw an old one has to lose."""
    shop.store.delete(pointer_key("local"))
    manifests = [shop.build("s1"), shop.build("s2")]
    seen, moved = [read_pointer(shop.store, "local")] * 2, 0
    for who, move in moves:
        if move == "see":
            seen[who] = read_pointer(shop.store, "local")
            continue
        fresh = seen[who] == read_pointer(shop.store, "local")
        try:
            point(shop.store, "local", manifests[who], f"publisher {who}", "race", seen[who])
        except Conflict:
            assert not fresh
        else:
            assert fresh
            moved += 1
        pointer = read_pointer(shop.store, "local").pointer
        if pointer is not None:
            assert (
                read_manifest(shop.store, pointer.live.generation, pointer.live.manifest_sha256) in manifests
            )
    assert len(history(shop.store, "local")) == moved


def test_publishers_that_race_for_real(shop) -> None:
    ids = [shop.build(f"s{number}").id for number in range(4)]
    start, won, lost = threading.Barrier(4), [], []

    def one(generation: str) -> None:
        start.wait()
        for _ in range(5):
            try:
                publish(shop.store, "local", generation, generation, "race")
                won.append(generation)
            except Conflict:
                lost.append(generation)

    threads = [threading.Thread(target=one, args=(generation,)) for generation in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) + len(lost) == 20
    live = history(shop.store, "local")[0]
    load(shop.store, read_manifest(shop.store, live.generation, live.manifest_sha256))
    assert len(history(shop.store, "local")) <= len(won)


def test_the_same_generation_built_twice_at_once_is_one(shop) -> None:
    start, built = threading.Barrier(3), []

    def one() -> None:
        start.wait()
        built.append(shop.build())

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [built[0]] * 3
    load(shop.store, read_manifest(shop.store, built[0].id))


def test_going_back_passes_over_what_is_damaged(shop) -> None:
    manifests = shop.several(4)
    for manifest in manifests:
        publish(shop.store, "local", manifest.id, "me", "why")
    base = manifests[2].segment("base").key
    shop.store.put(base, shop.store.get(base)[:-1] + b"?")
    assert rollback(shop.store, "local", "me", "bad").live.generation == manifests[1].id
    with pytest.raises(Unverified, match=f"generation {manifests[2].id} cannot be gone back to: .* the hash"):
        rollback(shop.store, "local", "me", "bad", to=manifests[2].id)


def test_what_was_written_anew_can_be_gone_back_to(shop) -> None:
    first, second = shop.build("s1"), shop.build("s2", detector="other")
    for manifest in (first, second):
        publish(shop.store, "local", manifest.id, "me", "why")
    anew = first.model_copy(update={"created_at": first.created_at + 1})
    shop.store.put(first.key, anew.to_json())
    assert rollback(shop.store, "local", "me", "bad").live.generation == first.id
    released = status(shop.store, "local")
    assert released is not None
    assert read_manifest(shop.store, first.id, released.manifest_sha256) == anew


def test_a_live_generation_of_the_former_format_is_followed_by_a_new_one(shop, as_of_format_1) -> None:
    old = as_of_format_1(shop.store, shop.build())
    point(shop.store, "local", old, "test", "test", read_pointer(shop.store, "local"))
    assert live_manifest(shop.store, "local") == old
    live = live_products(shop.store, "local")
    assert live is not None
    assert sorted(live["product_id"].to_pylist()) == sorted(shop.ids)
    refused = f"generation {old.id} is of format 1, format 3 is served; a run of the pipeline builds it anew"
    with pytest.raises(Unverified, match=refused):
        load(shop.store, old)

    new = shop.build()
    publish(shop.store, "local", new.id, "test", "test")
    assert prune(shop.store, keep=1) == [old.id]
    load(shop.store, new)
    publish(shop.store, "staging", new.id, "test", "test")


def test_there_is_no_going_back_to_the_former_format(shop, as_of_format_1) -> None:
    old = as_of_format_1(shop.store, shop.build())
    point(shop.store, "local", old, "test", "test", read_pointer(shop.store, "local"))
    new = shop.build()
    publish(shop.store, "local", new.id, "test", "test")
    with pytest.raises(Unverified, match=f"generation {old.id} is of format 1"):
        rollback(shop.store, "local", "test", "test")
    assert live_manifest(shop.store, "local") == new
