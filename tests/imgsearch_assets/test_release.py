import os
import random
import threading
import time
from collections.abc import Callable
from copy import copy
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgsearch_assets.assets.index import GATES
from imgsearch_assets.index import build_delta
from imgsearch_assets.release import generations, history, prune, publish, rollback, status
from imgsearch_assets.snapshot import live_manifest, live_products
from serving.errors import Conflict, NotFound, Unverified
from serving.index.artifact import load
from serving.index.generation import Manifest
from serving.index.store import list_generations, point, pointer_key, read_manifest, read_pointer


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


def several(shop, count: int) -> list[Manifest]:
    """Generations that have no file in common but those of items and products."""
    manifests = []
    for number in range(count):
        shop.vectors = shop.vectors[:, ::-1].copy() * (1 + number * 1e-6)
        manifests.append(shop.build(f"s{number}"))
    return manifests


def age(store) -> None:
    """As if everything were of long ago."""
    for key in store.list("segments"):
        os.utime(store.local_path(key), (0, 0))


def test_what_nobody_can_need_is_removed(shop) -> None:
    manifests = several(shop, 6)
    publish(shop.store, "staging", manifests[0].id, "me", "why")
    killed, under_way = (f"segments/{digit * 64}.faiss" for digit in "01")
    shop.store.put(killed, b"of a build that never wrote its manifest")
    age(shop.store)
    shop.store.put(under_way, b"of a build that did not write its manifest yet")
    removed = prune(shop.store, keep=3)
    assert removed == [manifests[2].id, manifests[1].id]
    left, unreadable = generations(shop.store)
    assert not unreadable
    assert {manifest.id for manifest in left} == {manifests[place].id for place in (0, 3, 4, 5)}
    for manifest in left:
        load(shop.store, manifest)
    named = {segment.key for manifest in left for segment in manifest.segments}
    assert set(shop.store.list("segments")) == named | {under_way}
    assert prune(shop.store, keep=3) == []


@pytest.mark.parametrize("key", ["manifest", "pointer"])
def test_nothing_is_removed_while_something_cannot_be_read(shop, key: str) -> None:
    manifests = several(shop, 3)
    publish(shop.store, "local", manifests[2].id, "me", "why")
    age(shop.store)
    if key == "manifest":
        newer = manifests[0].to_json().replace(b'"format": 3', b'"format": 4, "wings": 2')
        shop.store.put(manifests[0].key, newer)
    else:
        shop.store.put(pointer_key("production"), b'{"live": {"generation": "x", "wings": 2}}')
    there = sorted(shop.store.list("segments"))
    with pytest.raises(Unverified, match="nothing is pruned: "):
        prune(shop.store, keep=1)
    assert sorted(shop.store.list("segments")) == there
    assert len(list(list_generations(shop.store))) == 3


def test_what_was_rolled_back_from_does_not_take_the_place_of_what_was_good(shop) -> None:
    manifests = several(shop, 6)
    ids = [manifest.id for manifest in manifests]
    for generation in ids[:4]:
        publish(shop.store, "local", generation, "me", "why")
    assert rollback(shop.store, "local", "me", "bad").live.generation == ids[2]
    age(shop.store)
    assert prune(shop.store, keep=2) == [ids[0]]
    assert rollback(shop.store, "local", "me", "bad too").live.generation == ids[1]


def test_a_build_takes_over_what_is_about_to_be_removed(shop) -> None:
    several(shop, 4)
    vectors = shop.vectors
    several(shop, 3)  # the last of the four is pruned
    age(shop.store)
    shop.vectors = vectors
    prune(shop.store, keep=3)
    taken = shop.build("another day")
    prune(shop.store, keep=3)
    load(shop.store, taken)


class Meanwhile:
    """A store in which something else happens, once, just before a change begins."""

    def __init__(self, store, happens: Callable[[], object]) -> None:
        self._store, self._happens = store, [happens]

    def __getattr__(self, name):
        if name == "exclusive" and self._happens:
            self._happens.pop()()
        return getattr(self._store, name)


@pytest.mark.parametrize("first", [True, False], ids=["the first release", "a later one"])
def test_what_is_pruned_while_it_is_looked_at_is_not_made_live(shop, first: bool) -> None:
    manifests = several(shop, 3)
    if not first:
        publish(shop.store, "local", manifests[2].id, "me", "why")
    before = read_pointer(shop.store, "local")
    age(shop.store)
    store = Meanwhile(shop.store, lambda: prune(shop.store, keep=1))
    with pytest.raises(NotFound, match=f"there is no generation {manifests[0].id}"):
        publish(store, "local", manifests[0].id, "me", "why")
    assert read_pointer(shop.store, "local") == before


class Slow:
    """A store that pauses at every change, so that others get between."""

    def __init__(self, store, seed: int) -> None:
        self._store, self._rng = store, random.Random(seed)

    def __getattr__(self, name):
        found = getattr(self._store, name)
        if name not in ("delete", "compare_and_set", "put", "exists", "get", "age_s"):
            return found

        def slowly(*args, **kwargs):
            time.sleep(self._rng.choice((0, 0, 0.01)))
            return found(*args, **kwargs)

        return slowly


@pytest.mark.parametrize("seed", range(8))
def test_who_prunes_publishes_builds_and_goes_back_at_once_leaves_what_loads(make_shop, seed: int) -> None:
    shop = make_shop(products=12)
    vectors = shop.vectors
    ids = [manifest.id for manifest in several(shop, 5)]
    publish(shop.store, "local", ids[0], "me", "why", waive=frozenset(GATES))
    age(shop.store)
    rng = random.Random(seed)

    def publishing(store) -> None:
        publish(store, "local", rng.choice(ids), "me", "why", waive=frozenset(GATES))

    def building(store) -> None:
        built = copy(shop)
        built.store, built.vectors = store, vectors[:, ::-1].copy()
        publish(store, "local", built.build("s0").id, "me", "why", waive=frozenset(GATES))

    lost: list[BaseException] = []

    def one(doing: Callable[[Any], object], number: int) -> None:
        try:
            doing(Slow(shop.store, 10 * seed + number))
        except (NotFound, Conflict):
            pass  # another was first
        except BaseException as error:
            lost.append(error)

    doings = [lambda store: prune(store, keep=1)] * 2 + [publishing] * 2 + [building]
    doings.append(lambda store: rollback(store, "local", "me", "why"))
    rng.shuffle(doings)
    threads = [threading.Thread(target=one, args=(doing, number)) for number, doing in enumerate(doings)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not lost
    release = status(shop.store, "local")
    assert release is not None
    load(shop.store, read_manifest(shop.store, release.generation, release.manifest_sha256))


def test_going_back_passes_over_what_is_damaged(shop) -> None:
    manifests = several(shop, 4)
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


def test_a_manifest_that_nobody_can_read_and_no_release_names_is_removed_after_a_day(shop) -> None:
    manifests = several(shop, 3)
    publish(shop.store, "local", manifests[2].id, "me", "why")
    shop.store.put(manifests[0].key, b"{}")
    assert prune(shop.store, keep=1) == [manifests[1].id]
    os.utime(shop.store.local_path(manifests[0].key), (0, 0))
    assert prune(shop.store, keep=1) == [manifests[0].id]


turns = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(["build", "publish", "roll back", "prune"])),
    min_size=3,
    max_size=12,
)


@given(turns)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_two_operators_in_any_order_leave_what_loads(shop, turns) -> None:
    """Each builds a catalogue of its own, publishes what it built last, goes back and prunes."""
    shop.store.delete(pointer_key("local"))
    built: dict[int, str] = {}
    for turn, (who, what) in enumerate(turns):
        try:
            if what == "build":
                shop.vectors = shop.vectors[:, ::-1].copy()
                built[who] = shop.build(f"s{who}-{turn}").id
            elif what == "publish" and who in built:
                publish(shop.store, "local", built[who], f"operator {who}", "turns")
            elif what == "roll back":
                rollback(shop.store, "local", f"operator {who}", "turns")
            elif what == "prune":
                age(shop.store)
                prune(shop.store, keep=2)
        except NotFound:
            assert what in ("publish", "roll back"), "what was pruned, or was never there"
        live = status(shop.store, "local")
        if live is not None:
            load(shop.store, read_manifest(shop.store, live.generation, live.manifest_sha256))


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
