"""What is live is never exchanged for what was seen earlier."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from imgsearch_assets.catalogue.snapshot import products_key
from imgsearch_assets.release.order import newest
from imgsearch_assets.release.publish import publish
from serving.errors import Conflict


def see(shop: Any, snapshot: str, at: float) -> None:
    """The catalogue has this content at that moment (seconds since 1970)."""
    shop.store.put(products_key(snapshot), b"")
    os.utime(shop.store.local_path(products_key(snapshot)), (at, at))


def release(shop: Any, snapshot: str) -> None:
    with newest(shop.store, "local", snapshot):
        publish(shop.store, "local", shop.build(snapshot).id, "test", "test")


def test_an_earlier_snapshot_does_not_go_over_a_later_one(make_shop: Callable[..., Any]) -> None:
    shop, other = make_shop(seed=0), make_shop(seed=1)
    see(shop, "one", 100)
    see(shop, "two", 200)
    release(shop, "two")
    with pytest.raises(Conflict) as refused:
        release(other, "one")
    assert str(refused.value) == (
        "the catalogue was seen with snapshot two, which is live, after one: an overlapping run was faster, "
        "and this one releases nothing"
    )
    see(shop, "one", 300)  # the catalogue is as it was before
    release(other, "one")
    release(other, "one")


def test_where_nothing_is_known_of_what_is_live_it_stands_in_no_ones_way(shop: Any) -> None:
    see(shop, "one", 100)
    publish(shop.store, "local", shop.build("unkept").id, "test", "test")
    release(shop, "one")
