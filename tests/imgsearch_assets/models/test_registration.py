"""The gate: what passes, what is refused, who wins; and a head that learned shuffled labels."""

import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional as F

from imgsearch_assets.models.registration import (
    MIN_SAMPLES,
    Refused,
    Registered,
    Yardstick,
    compare,
    register,
    tolerance,
)
from serving.errors import BadInput, Conflict, Unverified
from serving.models.bundle import Bundle, load_bundle, store_bundle
from serving.models.live import live_key, live_version, promote, read_live
from serving.models.preprocess import Preprocessing
from serving.object_store import LocalObjectStore

SAMPLES = 400


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path)


def kept(store: LocalObjectStore, recall: float, name: str = "embedder") -> Bundle:
    """A candidate whose card says so; its weights are ``recall`` too, for whoever measures."""
    metrics = {"recall_at_1": recall, "recall_at_10": min(1.0, recall + 0.2), "queries": 400.0}
    if name == "detector":
        metrics = {"ap50": recall, "map50": recall}
    tensors = {"a": torch.full((1,), recall)}
    return store_bundle(store, name, tensors, Preprocessing(), metrics=metrics)


def known(bundle: Bundle) -> Mapping[str, float]:
    """What measuring such a candidate would find."""
    return bundle.card.metrics


def passes(store: LocalObjectStore, bundle: Bundle, **options: Any) -> Registered:
    by = Yardstick(
        str(options.pop("split", "v1")), options.pop("measure", known), int(options.pop("samples", SAMPLES))
    )
    return register(store, bundle, by, **options)


@pytest.mark.parametrize("name", ["embedder", "detector"])
def test_a_first_model_has_to_reach_the_floors(store: LocalObjectStore, name: str) -> None:
    bad, good = kept(store, 0.01, name=name), kept(store, 0.6, name=name)
    with pytest.raises(Refused, match=f"^{name} {bad.version} is refused: .* a first model needs 0"):
        passes(store, bad)
    registered = passes(store, good)
    assert (registered.previous, registered.changed) == (None, True)
    assert live_version(store, name) == good.version


def test_a_worse_one_is_refused_with_both_figures_and_stays_stored(store: LocalObjectStore) -> None:
    live, worse = kept(store, 0.6), kept(store, 0.5)
    passes(store, live)
    with pytest.raises(Refused) as caught:
        passes(store, worse)
    assert isinstance(caught.value, Unverified)
    assert str(caught.value) == (
        f"embedder {worse.version} is refused: "
        "recall_at_1 is 0.5000, the live model has 0.6000 and 0.5755 is wanted; "
        "recall_at_10 is 0.7000, the live model has 0.8000 and 0.7799 is wanted; "
        f"{live.version} stays live"
    )
    assert live_version(store, "embedder") == live.version
    assert load_bundle(store, "embedder", worse.version).card == worse.card


def test_as_good_within_chance_is_good_enough(store: LocalObjectStore) -> None:
    passes(store, kept(store, 0.6))
    equal = kept(store, 0.59)
    registered = passes(store, equal, who="Ada", why="smaller")
    assert live_version(store, "embedder") == equal.version
    assert all(one.passed for one in registered.compared)
    assert (read_live(store, "embedder").promotions[0].who) == "Ada"


def test_quality_does_not_seep_away_registration_by_registration(store: LocalObjectStore) -> None:
    passes(store, kept(store, 0.6))
    passes(store, kept(store, 0.58))
    with pytest.raises(Refused, match=r"has 0\.5800, an earlier one had 0\.6000 and 0\.5755 is wanted"):
        passes(store, kept(store, 0.565))
    # Other pictures say nothing of these.
    passes(store, kept(store, 0.565), split="v2")


def test_what_somebody_waived_or_left_sets_no_mark(store: LocalObjectStore) -> None:
    best = kept(store, 0.9)
    passes(store, best)
    passes(store, kept(store, 0.6), waive=True, who="Ada", why="three times as fast")
    passes(store, kept(store, 0.59))
    assert read_live(store, "embedder").promotions[1].measured.waived

    before = read_live(store, "embedder").version
    hasty = kept(store, 0.8)
    passes(store, hasty)
    promote(store, load_bundle(store, "embedder", before), hasty.version, rolled_back_from=hasty.version)
    passes(store, kept(store, 0.585))


def test_a_waived_one_that_was_left_forgets_nothing(store: LocalObjectStore) -> None:
    first = kept(store, 0.9)
    passes(store, first)
    good = kept(store, 0.89)
    passes(store, good)
    waived = kept(store, 0.5)
    passes(store, waived, waive=True, who="Ada", why="to try")
    promote(store, good, waived.version, rolled_back_from=waived.version)
    with pytest.raises(Refused, match=r"an earlier one had 0\.9000"):
        passes(store, kept(store, 0.875))


def test_what_decided_is_remembered(store: LocalObjectStore) -> None:
    passes(store, kept(store, 0.6), split="v7")
    measured = read_live(store, "embedder").promotions[0].measured
    assert (measured.split, measured.samples, measured.waived) == ("v7", SAMPLES, False)
    assert measured.figures["recall_at_1"] == pytest.approx(0.6)


def test_too_few_pictures_decide_nothing(store: LocalObjectStore) -> None:
    bundle = kept(store, 0.6)
    with pytest.raises(BadInput, match=r"49 pictures are too few to tell a better embedder from a worse one"):
        passes(store, bundle, samples=MIN_SAMPLES - 1)
    passes(store, bundle, samples=MIN_SAMPLES)


def test_a_pointer_that_is_none_is_written_anew(store: LocalObjectStore) -> None:
    passes(store, kept(store, 0.9))
    store.put(live_key("embedder"), b"\xff{")
    with pytest.raises(Unverified, match="imgsearch model register writes it anew"):
        read_live(store, "embedder")
    other = kept(store, 0.5)
    assert passes(store, other).previous is None
    assert live_version(store, "embedder") == other.version


def test_the_same_again_changes_nothing(store: LocalObjectStore) -> None:
    bundle = kept(store, 0.6)
    passes(store, bundle)
    assert not passes(store, bundle).changed
    assert len(read_live(store, "embedder").promotions) == 1


def test_no_card_is_believed(store: LocalObjectStore) -> None:
    """The candidate boasts of what the live one has; measured on the same pictures it finds nothing."""
    live, noise = kept(store, 0.6), kept(store, 0.61)
    passes(store, live)
    measured = []

    def measure(bundle: Bundle) -> Mapping[str, float]:
        measured.append(bundle.version)
        return bundle.card.metrics if bundle.version == live.version else {"recall_at_1": 0.01}

    with pytest.raises(Refused, match=r"recall_at_1 is 0\.0100, the live model has 0\.6000"):
        passes(store, noise, measure=measure)
    assert sorted(measured) == sorted([live.version, noise.version])
    assert live_version(store, "embedder") == live.version


def test_a_live_model_that_does_not_load_is_replaced_by_the_floors(store: LocalObjectStore) -> None:
    live = kept(store, 0.9)
    passes(store, live)
    store.put(f"models/embedder/{live.version}/weights.safetensors", b"damaged")
    worse = kept(store, 0.5)
    registered = passes(store, worse)
    assert registered.previous == live.version
    assert live_version(store, "embedder") == worse.version


def test_a_waiver_needs_a_name_and_a_reason(store: LocalObjectStore) -> None:
    passes(store, kept(store, 0.6))
    worse = kept(store, 0.5)
    for who, why in (("", "speed"), ("Ada", " ")):
        with pytest.raises(BadInput, match="only with a name and a reason"):
            passes(store, worse, waive=True, who=who, why=why)
    registered = passes(store, worse, waive=True, who="Ada", why="three times as fast")
    assert [one.figure for one in registered.waived] == ["recall_at_1", "recall_at_10"]
    promotion = read_live(store, "embedder").promotions[0]
    assert (promotion.who, promotion.why) == ("Ada", "three times as fast")


def test_of_two_at_once_one_wins(store: LocalObjectStore) -> None:
    passes(store, kept(store, 0.5))
    both_measured, won, lost = threading.Barrier(2), [], []

    def one(bundle: Bundle) -> None:
        def measure(_: Bundle) -> Mapping[str, float]:
            both_measured.wait(10)
            return {"recall_at_1": 0.7, "recall_at_10": 0.9}

        try:
            passes(store, bundle, measure=measure)
            won.append(bundle.version)
        except Conflict:
            lost.append(bundle.version)

    others = [kept(store, value) for value in (0.71, 0.72)]
    threads = [threading.Thread(target=one, args=(bundle,)) for bundle in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [live_version(store, "embedder")] == won
    assert len(lost) == 1


@pytest.mark.parametrize(
    ("candidate", "live", "passed"),
    [
        ({"street_to_shop_recall_at_1": 0.5}, {"street_to_shop_recall_at_1": 0.5}, True),
        ({"recall_at_1": 0.9}, {"recall_at_1": 0.5, "photos_category_precision_at_5": 0.8}, False),
        ({"recall_at_1": 0.9, "photos_recall_at_1": 0.1}, {"recall_at_1": 0.5}, True),
        ({"recall_at_1": math.nan}, {"recall_at_1": 0.5}, False),
        ({"recall_at_1": math.nan}, None, False),
        ({"recall_at_1": 0.5, "map_at_10": 0.0}, {"recall_at_1": 0.5, "map_at_10": 0.9}, True),
    ],
)
def test_which_figures_decide(
    candidate: dict[str, float], live: dict[str, float] | None, passed: bool
) -> None:
    assert all(one.passed for one in compare("embedder", candidate, live, 300)) == passed


def test_the_tolerance_is_that_of_the_queries_of_the_same_kind() -> None:
    live = {"recall_at_1": 0.5, "photos_recall_at_1": 0.5, "photos_queries": 16.0}
    photos, drawn = compare("embedder", live, live, 10_000)
    assert (photos.figure, drawn.figure) == ("photos_recall_at_1", "recall_at_1")
    assert photos.wanted == pytest.approx(0.5 - 0.1118 - 1e-4, abs=1e-4)
    assert drawn.wanted == pytest.approx(0.5 - 0.005 - 1e-4, abs=1e-4)


def test_nothing_to_decide_by() -> None:
    with pytest.raises(BadInput, match="there is no figure to decide by: recall_at_1, recall_at_10"):
        compare("embedder", {"loss": 0.1}, {"loss": 0.2}, 100)
    with pytest.raises(BadInput, match="no figures are known to decide by for a model named 'toy'"):
        compare("toy", {"ap50": 1}, None, 100)


@given(st.floats(0, 1), st.integers(1, 100_000))
def test_the_tolerance_is_that_of_the_split(share: float, samples: int) -> None:
    error = tolerance(share, samples)
    assert 0 < error <= 0.5 / math.sqrt(samples + 4) + 1e-12
    assert tolerance(share, 4 * samples + 12) < error


# A head that learned nothing: the same training, once on labels and once on shuffled ones.

PRODUCTS, SHOTS, WIDTH, DIM = 60, 6, 48, 16


@pytest.fixture(scope="module")
def descriptors() -> NDArray[np.float32]:
    """Float32 (products, shots, width): what tells products apart lies below much noise."""
    rng = np.random.default_rng(0)
    own = np.zeros((PRODUCTS, 1, WIDTH))
    own[..., :DIM] = rng.normal(size=(PRODUCTS, 1, DIM))
    noise = rng.normal(size=(PRODUCTS, SHOTS, WIDTH)) * np.r_[np.full(DIM, 0.5), np.full(WIDTH - DIM, 2.0)]
    return (own + noise).astype(np.float32)


def trained(descriptors: NDArray[np.float32], shuffled: bool) -> dict[str, torch.Tensor]:
    """A projection learned by cosine softmax over the first 40 products, for a second."""
    torch.manual_seed(0)
    rows = torch.from_numpy(descriptors[:40].reshape(-1, WIDTH))
    labels = torch.arange(40).repeat_interleave(SHOTS)
    if shuffled:
        labels = labels[torch.randperm(len(labels))]
    project, proxies = torch.nn.Linear(WIDTH, DIM), torch.nn.Parameter(torch.randn(40, DIM))
    steps = torch.optim.Adam([*project.parameters(), proxies], 0.02)
    for _ in range(200):
        steps.zero_grad()
        logits = 12 * F.normalize(project(rows)) @ F.normalize(proxies).T
        F.cross_entropy(logits, labels).backward()
        steps.step()
    return {f"project.{name}": value.detach() for name, value in project.named_parameters()}


def held_out(descriptors: NDArray[np.float32]) -> Callable[[Bundle], Mapping[str, float]]:
    """Recall of the last 20 products' last shots among their first ones."""

    def measure(bundle: Bundle) -> Mapping[str, float]:
        weight, bias = bundle.tensors["project.weight"], bundle.tensors["project.bias"]
        vectors = F.normalize(torch.from_numpy(descriptors[40:]) @ weight.T + bias, dim=-1)
        queries, shop = vectors[:, SHOTS // 2 :], vectors[:, : SHOTS // 2]
        scores = torch.einsum("qid,pjd->qipj", queries, shop).amax(-1).flatten(0, 1)
        own = torch.arange(20).repeat_interleave(SHOTS - SHOTS // 2)
        better = (scores > scores.gather(1, own[:, None])).sum(1)
        return {f"recall_at_{k}": float((better < k).float().mean()) for k in (1, 10)}

    return measure


def test_a_head_that_learned_shuffled_labels_is_refused(
    store: LocalObjectStore, descriptors: NDArray[np.float32]
) -> None:
    good, bad = (
        store_bundle(store, "embedder", trained(descriptors, shuffled), Preprocessing(), dim=DIM)
        for shuffled in (False, True)
    )
    by = Yardstick("last 20", held_out(descriptors), 60)
    register(store, good, by)
    with pytest.raises(Refused) as caught:
        register(store, bad, by)
    first = caught.value.compared[0]
    assert first.figure == "recall_at_1"
    assert first.live is not None
    assert first.candidate < first.live - 0.2
    assert live_version(store, "embedder") == good.version
