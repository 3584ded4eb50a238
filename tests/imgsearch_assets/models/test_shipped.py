from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from imgsearch_assets.assets import models as assets
from imgsearch_assets.assets.models import item_embedder
from imgsearch_assets.environment import read_environment
from imgsearch_assets.models.measuring import Yardstick
from imgsearch_assets.models.shipped import (
    CANDIDATES,
    WEIGHTS,
    detector_candidate,
    embedder_candidate,
    register_detector,
    register_embedder,
    shipped,
    take_shipped,
)
from imgsearch_assets.resources import resources_of
from imgsearch_assets.sample.design import CATEGORIES
from serving.models.bundle import Bundle, load_bundle, store_bundle
from serving.models.live import live_version, promote, read_live
from serving.object_store import LocalObjectStore


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path)


def test_registered_models_load_and_stay_the_same(store: LocalObjectStore) -> None:
    for register in (register_detector, register_embedder):
        bundle = register(store)
        assert load_bundle(store, bundle.name).version == bundle.version
        assert register(store).version == bundle.version
    assert len(list(store.list("models"))) == 8


def test_the_detector_knows_the_categories_of_the_sample(store: LocalObjectStore) -> None:
    assert detector_candidate(store).card.categories == CATEGORIES


def test_what_is_shipped_is_small_and_says_how_good_it_is() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 2_000_000
    _, head = shipped("detector_head")
    assert head.metrics["ap50"] >= 0.8
    _, projection = shipped("embedder_projection")
    assert projection.metrics["street_to_shop_recall_at_1"] >= 0.8


def other(store: LocalObjectStore, **training: str) -> Bundle:
    """An embedder with other weights; by its ``training`` from elsewhere or of earlier code."""
    bundle = embedder_candidate(store)
    tensors = {**bundle.tensors, "project.bias": bundle.tensors["project.bias"] * 0.9}
    return store_bundle(
        store, bundle.name, tensors, bundle.card.preprocessing, dim=bundle.card.dim, training=training
    )


def judged(earlier: float, now: float, earlier_version: str) -> Yardstick:
    """A data set on which the earlier shipped model reaches ``earlier`` and this code's ``now``."""

    def measure(bundle: Bundle) -> Mapping[str, float]:
        return {"recall_at_1": earlier if bundle.version == earlier_version else now}

    return Yardstick("drawn", measure, 300)


def never() -> Yardstick:
    pytest.fail("nothing had to be measured")


@pytest.mark.parametrize("name", CANDIDATES)
def test_the_shipped_one_is_live_where_nothing_is(store: LocalObjectStore, name: str) -> None:
    first = take_shipped(store, name, never)
    assert (first.live.version, first.previous, first.refused) == (live_version(store, name), None, False)
    assert {one.who for one in read_live(store, name).promotions} == {"shipped"}
    again = take_shipped(store, name, never)
    assert (again.live.version, again.previous) == (first.live.version, first.live.version)
    assert again.message == "the shipped model is live already"


def test_a_model_that_somebody_registered_stays(store: LocalObjectStore) -> None:
    take_shipped(store, "embedder", never)
    own = other(store, source="our own photographs")
    promote(store, own, who="Ada", why="better on our shop")
    taken = take_shipped(store, "embedder", never)
    assert taken.live.version == live_version(store, "embedder") == own.version
    assert taken.message == "a model that somebody registered is live, and stays"


def test_newer_weights_of_the_code_replace_older_ones_that_are_not_better(store: LocalObjectStore) -> None:
    older = other(store, origin="shipped")
    promote(store, older)
    refused = take_shipped(store, "embedder", lambda: judged(0.9, 0.5, older.version))
    assert refused.refused
    assert refused.live.version == live_version(store, "embedder") == older.version
    assert "recall_at_1 is 0.5000, the live model has 0.9000" in refused.message
    taken = take_shipped(store, "embedder", lambda: judged(0.8, 0.9, older.version))
    assert not taken.refused
    assert taken.previous == older.version
    assert taken.live.version == live_version(store, "embedder") != older.version


def test_what_somebody_went_back_from_is_not_offered_again(store: LocalObjectStore) -> None:
    older = other(store, origin="shipped")
    promote(store, older)
    now = take_shipped(store, "embedder", lambda: judged(0.8, 0.9, older.version)).live.version
    promote(store, older, who="Ada", why="the old one was better", rolled_back_from=now)
    taken = take_shipped(store, "embedder", never)
    assert taken.message == f"the shipped model {now} was live, and was left"
    assert live_version(store, "embedder") == older.version


def test_a_live_model_that_this_code_cannot_read_is_replaced(store: LocalObjectStore) -> None:
    store.put(f"models/embedder/{'0' * 16}/bundle.json", b'{"format": 1}')
    store.put("models/embedder/live.json", f'{{"version": "{"0" * 16}"}}'.encode())
    taken = take_shipped(store, "embedder", never)
    assert taken.previous == "0" * 16
    assert live_version(store, "embedder") == taken.live.version
    assert "in the place of one that is gone" in taken.message


def materialized(
    store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, dg.AssetCheckEvaluation]:
    """Run the asset; what it says of the model, and its check."""
    monkeypatch.delenv("IMGSEARCH_CATALOGUE", raising=False)
    resources = resources_of(read_environment()) | {"store": dg.ResourceDefinition.hardcoded_resource(store)}
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([item_embedder], resources=resources, instance=instance)
        (check,) = result.get_asset_check_evaluations()
        (event,) = result.asset_materializations_for_node("item_embedder")
    assert event.tags is not None
    assert event.tags["dagster/data_version"] == live_version(store, "embedder")
    return {name: value.value for name, value in event.metadata.items()}, check


def test_the_asset_is_what_is_live_with_its_card_and_pictures(
    store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, check = materialized(store, monkeypatch)
    assert check.passed
    assert first["what"] == "the shipped model is the first"
    assert first["street_to_shop_recall_at_1"] >= 0.8
    assert first["card"].startswith("# embedder")

    own = other(store, source="our own photographs")
    store.put(f"models/embedder/{own.version}/curves.png", b"a picture")
    promote(store, own)
    said, check = materialized(store, monkeypatch)
    assert check.passed
    assert (said["version"], said["previous"]) == (own.version, own.version)
    assert said["curves"] == "![curves](data:image/png;base64,YSBwaWN0dXJl)"


def test_the_asset_warns_of_a_shipped_model_that_is_worse(
    store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = other(store, origin="shipped")
    promote(store, older)
    monkeypatch.setattr(assets, "drawn_yardstick", lambda _: judged(0.9, 0.5, older.version))
    said, check = materialized(store, monkeypatch)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert said["what"] == "refused"
    assert said["version"] == older.version
    assert str(check.description).endswith(f"{older.version} stays live")
