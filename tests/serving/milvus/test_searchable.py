"""Both backends find the same, and say the same of it."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from imgsearch_assets.index.generation import build_delta
from serving.errors import NotFound
from serving.index.artifact import load
from serving.index.collapse import COLLAPSES, Collapse
from serving.index.filters import Filter
from serving.index.generation import GROUPS
from serving.milvus.client import Client
from serving.milvus.collection import collection_name
from serving.milvus.opening import opened
from serving.milvus.publish import write
from serving.milvus.searchable import InMilvus
from serving.proto import search_pb2
from serving.services.in_memory import InMemory
from serving.services.searchable import Asked, Searchable

# Names that would end a text, or a statement, in one language or another.
NASTY = [
    '"',
    "'",
    "\\",
    '" or row >= 0 or brand == "',
    "\\u0022",
    "a\nb\x00",
    "%",
    "été 👗",
    "$meta",
    "]",
    "",
]


def grouped(shop) -> pa.Table:
    """The shop's products in groups: pictures of one to three, and one of sixty; designs of two colours."""
    pictures = [shop.ids[0] if place < 60 else shop.ids[place - place % 3] for place in range(len(shop.ids))]
    variants = [shop.ids[place - place % 2] for place in range(len(shop.ids))]
    return shop.products.append_column("picture_group", pa.array(pictures)).append_column(
        "variant_group", pa.array(variants)
    )


@pytest.fixture
def both(make_shop, milvus: Client) -> tuple[Any, InMemory, InMilvus]:
    """A generation with deltas in either: products came, went and changed."""
    shop = make_shop(products=130)
    products = grouped(shop)
    shop.products = products.set_column(
        2, "brand", pa.array([NASTY[n % len(NASTY)] for n in range(len(products))])
    )
    manifest = shop.build()
    changed = pa.array([5, 90, 91])
    come = shop.products.take(changed).set_column(4, "colour", pa.array(["green"] * 3))
    for column in GROUPS.names:
        come = come.set_column(come.column_names.index(column), column, come["product_id"])
    rows = np.isin(shop.items["product_id"].to_pylist(), come["product_id"].to_pylist())
    gone = [shop.ids[place] for place in (5, 90, 91, 20, 100)]
    later = build_delta(
        shop.store,
        manifest,
        come,
        shop.items.filter(pa.array(rows)),
        shop.vectors[rows],
        gone,
        snapshot="later",
    )
    generation = load(shop.store, later)
    write(milvus, generation)
    return shop, InMemory(generation), opened(milvus, collection_name(later.id))


def answers(where: Searchable, asked: list[Asked]) -> list[search_pb2.Result]:
    return [search_pb2.Result.FromString(result) for result in where.search(asked)]


def a_filter(rng: np.random.Generator, shop) -> Filter | None:
    if rng.random() < 0.2:
        return None
    low = int(rng.integers(990, 1_120))
    return Filter(
        category=frozenset(rng.choice(["dress", "shirt", "boat"], rng.integers(0, 3)).tolist()),
        brand=frozenset(rng.choice(NASTY, rng.integers(0, 6)).tolist()),
        colour=frozenset(rng.choice(["red", "green", "x"], rng.integers(0, 2)).tolist()),
        price_min=low if rng.random() < 0.4 else None,
        price_max=low + int(rng.integers(0, 90)) if rng.random() < 0.4 else None,
        in_stock_only=bool(rng.random() < 0.3),
        excluded=frozenset(rng.choice(shop.ids, rng.integers(0, 4)).tolist()),
    )


def asked_for(rng: np.random.Generator, shop, there: list[str]) -> Asked:
    rows = rng.integers(0, len(shop.vectors), rng.integers(1, 4))
    noisy = shop.vectors[rows] + rng.normal(size=(len(rows), shop.dim)) * 0.1
    xq = (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)
    collapse: Collapse = COLLAPSES[rng.integers(len(COLLAPSES))]
    k = int(rng.choice([1, 3, 10, 60]))
    wanted = a_filter(rng, shop)
    if rng.random() < 0.2:
        return Asked(None, str(rng.choice(there)), k, wanted, collapse)
    return Asked(xq, "", k, wanted, collapse)


def told(hit: search_pb2.Hit) -> tuple[Any, ...]:
    return hit.product, hit.image_url, hit.image_sha256, hit.box, list(hit.also_product_ids)


def test_both_backends_give_the_same(both) -> None:
    shop, memory, milvus = both
    there = [name for name in shop.ids if memory.products([name])]
    rng = np.random.default_rng(0)
    hits = exhausted = also = 0
    for _ in range(60):
        asked = [asked_for(rng, shop, there) for _ in range(rng.integers(1, 4))]
        for expected, found in zip(answers(memory, asked), answers(milvus, asked), strict=True):
            scores = [hit.score for hit in expected.hits]
            assert [hit.score for hit in found.hits] == pytest.approx(scores, abs=2e-3)
            assert list(map(told, found.hits)) == list(map(told, expected.hits))
            assert (found.exhausted, found.plan) == (expected.exhausted, expected.plan)
            hits += len(scores)
            exhausted += found.exhausted
            also += sum(len(hit.also_product_ids) for hit in found.hits)
    assert min(hits, exhausted, also) > 20


def test_what_is_told_of_products_and_values(both) -> None:
    shop, memory, milvus = both
    names = [shop.ids[5], shop.ids[20], "nobody", 'no"body', *shop.ids[60:99]]
    assert milvus.products(names) == memory.products(names)
    for facet in ("category", "brand", "colour"):
        assert milvus.values(facet) == memory.values(facet)
    assert milvus.about.products == memory.about.products
    assert milvus.about.rows < memory.about.rows  # those of products that went are not stored


def test_texts_of_callers_are_nothing_but_values(both) -> None:
    shop, memory, milvus = both
    for product_id in ("nobody", '" or row >= 0 or product_id == "', "\\", "\ud800"):
        with pytest.raises(NotFound):
            answers(milvus, [Asked(None, product_id, 3, None, "product")])
        assert milvus.products([product_id]) == []
    for value in (*NASTY, "nothing", '"] or brand_code in [0,1,2,3'):
        asked = [Asked(shop.vectors[:1], "", 99, Filter(brand=frozenset({value})), "product")]
        (expected,), (found,) = answers(memory, asked), answers(milvus, asked)
        assert {hit.product.brand for hit in found.hits} == ({value} if value in NASTY else set())
        assert [hit.product for hit in found.hits] == [hit.product for hit in expected.hits]


def test_a_group_that_fills_the_first_page_hides_no_other(shop, milvus: Client) -> None:
    """Milvus groups what it looked at; here that is one group, until it is asked for the rest."""
    groups = pa.array([shop.ids[0]] * 40 + shop.ids[40:])
    shop.products = shop.products.append_column("picture_group", groups)
    near = np.isin(shop.items["product_id"].to_pylist(), shop.ids[:40])
    shop.vectors[near] = shop.vectors[0] + shop.vectors[near] * 0.05
    shop.vectors /= np.linalg.norm(shop.vectors, axis=1, keepdims=True)
    generation = load(shop.store, shop.build())
    write(milvus, generation)
    held = opened(milvus, collection_name(generation.manifest.id))
    for xq in (shop.vectors[:1], shop.vectors[[0, 1, -1]]):
        for k, wanted in ((4, None), (30, None), (4, Filter(category=frozenset({"shoe"})))):
            asked = [Asked(xq, "", k, wanted, "picture")]
            (expected,), (found,) = answers(InMemory(generation), asked), answers(held, asked)
            assert list(map(told, found.hits)) == list(map(told, expected.hits))
            assert found.exhausted == expected.exhausted


def test_a_graph_finds_nearly_all_and_keeps_to_the_filter(make_shop, milvus: Client) -> None:
    shop = make_shop(products=550)
    manifest = shop.build()
    generation = load(shop.store, manifest)
    write(milvus, generation)
    memory, graph = InMemory(generation), opened(milvus, collection_name(manifest.id))
    rng = np.random.default_rng(0)
    same = wanted = 0
    for number in range(20):
        kept = [None, Filter(category=frozenset({"shoe"})), Filter(price_max=1_015)][number % 3]
        row = shop.vectors[rng.integers(len(shop.vectors))][None]
        asked = [Asked(row, "", 10, kept, "product")]
        (expected,), (found,) = answers(memory, asked), answers(graph, asked)
        assert found.plan == "graph"
        assert [hit.score for hit in found.hits] == sorted((hit.score for hit in found.hits), reverse=True)
        assert found.exhausted == expected.exhausted
        ids = {hit.product.product_id for hit in found.hits}
        assert all(kept is None or not kept.category or hit.product.category == "shoe" for hit in found.hits)
        same += len(ids & {hit.product.product_id for hit in expected.hits})
        wanted += len(expected.hits)
    assert same / wanted >= 0.95
