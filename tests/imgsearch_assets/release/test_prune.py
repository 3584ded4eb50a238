"""What pruning removes, and that it loses nothing to whoever builds, releases or goes back meanwhile."""

import os
import random
import threading
import time
from collections.abc import Callable
from copy import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgsearch_assets.assets.index import GATES
from imgsearch_assets.release.publish import publish, rollback, status
from imgsearch_assets.release.retention import prune
from serving.errors import Conflict, NotFound, Unverified
from serving.index.artifact import load
from serving.index.store import generations, list_generations, pointer_key, read_manifest, read_pointer


def age(store) -> None:
    """As if everything were of long ago."""
    for key in store.list("segments"):
        os.utime(store.local_path(key), (0, 0))


def test_what_nobody_can_need_is_removed(shop) -> None:
    manifests = shop.several(6)
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
    manifests = shop.several(3)
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
    manifests = shop.several(6)
    ids = [manifest.id for manifest in manifests]
    for generation in ids[:4]:
        publish(shop.store, "local", generation, "me", "why")
    assert rollback(shop.store, "local", "me", "bad").live.generation == ids[2]
    age(shop.store)
    assert prune(shop.store, keep=2) == [ids[0]]
    assert rollback(shop.store, "local", "me", "bad too").live.generation == ids[1]


def test_a_build_takes_over_what_is_about_to_be_removed(shop) -> None:
    shop.several(4)
    vectors = shop.vectors
    shop.several(3)  # the last of the four is pruned
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
    manifests = shop.several(3)
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
    ids = [manifest.id for manifest in shop.several(5)]
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


def test_a_manifest_that_nobody_can_read_and_no_release_names_is_removed_after_a_day(shop) -> None:
    manifests = shop.several(3)
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
