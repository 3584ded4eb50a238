"""What is live is never exchanged for what was seen earlier, or with a model of before."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from imgsearch_assets.catalogue.snapshot import look_of, number_look
from imgsearch_assets.release.order import newest
from imgsearch_assets.release.publish import publish
from serving.errors import Conflict
from serving.models.bundle import load_bundle, promote, store_bundle
from serving.models.preprocess import Preprocessing


def see(shop: Any, snapshot: str) -> None:
    """The catalogue has this content at the moment."""
    number_look(shop.store, snapshot)


def release(shop: Any, snapshot: str, **models: str) -> None:
    manifest = shop.build(snapshot, **models)
    with newest(shop.store, "local", snapshot, manifest):
        publish(shop.store, "local", manifest.id, "test", "test")


def test_an_earlier_snapshot_does_not_go_over_a_later_one(make_shop: Callable[..., Any]) -> None:
    shop, other = make_shop(seed=0), make_shop(seed=1)
    see(shop, "one")
    see(shop, "two")
    release(shop, "two")
    with pytest.raises(Conflict) as refused:
        release(other, "one")
    assert str(refused.value) == (
        "the catalogue was seen with snapshot two, which is live, after one: an overlapping run was faster, "
        "and this one releases nothing"
    )
    see(shop, "one")  # the catalogue is as it was before
    release(other, "one")
    release(other, "one")
    assert [look_of(shop.store, name) for name in ("one", "two", "three")] == [3, 2, 0]


def test_where_nothing_is_known_of_what_is_live_it_stands_in_no_ones_way(shop: Any) -> None:
    publish(shop.store, "local", shop.build("unkept").id, "test", "test")
    release(shop, "one")


def test_of_one_snapshot_the_model_that_took_the_place_of_the_other_stays(shop: Any) -> None:
    versions = []
    for value in (1.0, 2.0):
        tensors = {"a": torch.full((1,), value)}
        bundle = store_bundle(shop.store, "embedder", tensors, Preprocessing(), training={"v": value})
        versions.append(bundle.version)
        promote(shop.store, bundle)
    old, new = versions
    release(shop, "one", embedder=old)
    release(shop, "one", embedder=new)
    with pytest.raises(Conflict) as refused:
        release(shop, "one", embedder=old)
    assert str(refused.value) == (
        f"what is live is of embedder {new}, which took the place of {old}: an overlapping run was faster, "
        "and this one releases nothing; start the job refresh"
    )
    promote(shop.store, load_bundle(shop.store, "embedder", old))  # back to it
    release(shop, "one", embedder=old)
