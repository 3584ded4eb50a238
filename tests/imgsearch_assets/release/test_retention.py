"""What of the way to a generation is kept, and how long."""

import os
import time

from imgsearch_assets.catalogue.snapshot import number_look, products_key
from imgsearch_assets.release.retention import forget

DAY_S = 24 * 3600


def seen(store, snapshot: str, days_ago: float) -> None:
    """The catalogue had this content when it was last looked at so long ago; what was made of it is older."""
    store.put(products_key(snapshot), b"rows")
    number_look(store, snapshot)
    for key in store.list(f"snapshots/{snapshot}"):
        age(store, key, days_ago + (0 if key.endswith("/look") else 10))


def age(store, key: str, days: float) -> None:
    then = time.time() - days * DAY_S
    os.utime(store.local_path(key), (then, then))


def snapshots(store) -> set[str]:
    return {key.split("/")[1] for key in store.list("snapshots")} - {"looks"}


def test_a_snapshot_is_kept_some_days_after_it_was_last_seen(shop) -> None:
    for number, days_ago in enumerate([31, 29, 31, 0]):
        seen(shop.store, f"s{number}", days_ago)
    assert forget(shop.store, 30) == 2
    assert snapshots(shop.store) == {"s1", "s3"}
    assert shop.store.get("snapshots/looks") == b"4"
    assert forget(shop.store, 30) == 0


def test_what_a_generation_was_made_of_is_kept_as_long_as_it(shop) -> None:
    shop.build("old")
    for snapshot, days_ago in (("old", 400), ("unused", 400), ("new", 0)):
        seen(shop.store, snapshot, days_ago)
    assert forget(shop.store, 1) == 1
    assert snapshots(shop.store) == {"old", "new"}


def test_the_last_snapshot_is_kept_however_old(shop) -> None:
    for snapshot, days_ago in (("first", 50), ("last", 40)):
        seen(shop.store, snapshot, days_ago)
    assert forget(shop.store, 30) == 1
    assert snapshots(shop.store) == {"last"}


def test_nothing_goes_while_a_generation_cannot_be_read(shop) -> None:
    manifest = shop.build("old")
    shop.store.put(manifest.key, b"{}")
    for snapshot, days_ago in (("old", 400), ("new", 0)):
        seen(shop.store, snapshot, days_ago)
    assert forget(shop.store, 30) == 0
    assert snapshots(shop.store) == {"old", "new"}


def test_what_runs_handed_on_is_kept_a_week_and_the_latest_always(shop) -> None:
    for name, days in (("a/1", 8), ("a/2", 6), ("a/latest", 8), ("b/c/1", 8)):
        shop.store.put(f"references/{name}.json", b"{}")
        age(shop.store, f"references/{name}.json", days)
    forget(shop.store, 30)
    assert list(shop.store.list("references")) == ["references/a/2.json", "references/a/latest.json"]
