"""The index that a change of the catalogue leads to, by deltas and anew."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from imgsearch_assets.catalogue.contract import PRODUCTS as CATALOGUE
from imgsearch_assets.index import increment
from imgsearch_assets.index.duplicates import Alike
from imgsearch_assets.index.increment import Built, Models, Wanted, build
from imgsearch_assets.release.publish import publish, status
from serving.index.artifact import load
from serving.index.generation import VECTOR
from serving.index.loaded import Generation
from serving.index.search import search
from serving.index.store import read_manifest

ALIKE = Alike()
MODELS = Models("embedder-1", "pre-1", "detector-1")


def wanted(shop, snapshot: str, left: slice = slice(None), **changes: object) -> Wanted:
    """What the shop has, of the products ``left`` of its order."""
    products = shop.products.append_column(
        "updated_at", pa.array([0] * len(shop.ids), CATALOGUE.field("updated_at").type)
    )
    ids = pa.array(shop.ids[left])
    own = pc.is_in(shop.items["product_id"], value_set=ids)
    found = Wanted(
        products.filter(pc.is_in(products["product_id"], value_set=ids)),
        shop.items.filter(own),
        shop.vectors[own.to_numpy()],
        MODELS,
        snapshot,
    )
    return replace(found, **changes)


def live(shop, want: Wanted) -> Built:
    built = build(shop.store, "local", want, ALIKE)
    publish(shop.store, "local", built.manifest.id, "test", "test", waive=frozenset({"filters_filled"}))
    return built


def ids(generation: Generation) -> list[str]:
    return [generation.id_of(int(place)) for place in generation.present()]


def test_new_products_are_a_delta_and_the_base_stays(shop) -> None:
    first = live(shop, wanted(shop, "s1", slice(4, None)))
    assert (first.plan.kind, first.plan.why) == ("full", "nothing is live")
    before = set(shop.store.list("segments"))
    second = live(shop, wanted(shop, "s2"))
    assert second.plan.kind == "delta"
    assert second.plan.come == set(shop.ids[:4])
    assert not second.plan.gone
    assert second.manifest.segments == first.manifest.segments
    assert (second.manifest.products, second.manifest.base_products) == (60, 56)
    assert sorted(ids(second.generation)) == sorted(shop.ids)
    written = set(shop.store.list("segments")) - before
    assert written == {segment.key for segment in second.manifest.deltas[0].segments}
    for name in shop.ids[:5]:
        place = second.generation.place(name)
        assert place is not None
        (hit,) = search(second.generation, second.generation.vectors(place), 1).hits
        assert hit.product == place
        assert second.generation.items["product_id"][hit.row].as_py() == name


def test_the_same_again_is_nothing(shop) -> None:
    live(shop, wanted(shop, "s1", slice(4, None)))
    second = live(shop, wanted(shop, "s2"))
    before = {key for prefix in ("segments", "generations") for key in shop.store.list(prefix)}
    again = build(shop.store, "local", wanted(shop, "s3"), ALIKE)
    assert (again.plan.kind, again.manifest) == ("nothing", second.manifest)
    assert {key for prefix in ("segments", "generations") for key in shop.store.list(prefix)} == before


def test_a_run_that_is_repeated_before_its_release_is_the_same_generation(shop) -> None:
    live(shop, wanted(shop, "s1", slice(4, None)))
    first, second = (build(shop.store, "local", wanted(shop, "s2"), ALIKE) for _ in range(2))
    assert first.manifest == second.manifest


def test_what_went_is_not_found_and_what_changed_is_as_it_is_now(shop) -> None:
    live(shop, wanted(shop, "s1"))
    want = wanted(shop, "s2", slice(2, None))
    place = want.products.schema.get_field_index("price")
    prices = [
        7 if name == shop.ids[9] else price
        for name, price in zip(shop.ids[2:], want.products["price"].to_pylist(), strict=True)
    ]
    second = live(shop, replace(want, products=want.products.set_column(place, "price", pa.array(prices))))
    assert (second.plan.kind, second.plan.come, second.plan.gone) == (
        "delta",
        {shop.ids[9]},
        {*shop.ids[:2], shop.ids[9]},
    )
    generation = second.generation
    for gone in shop.ids[:2]:
        assert generation.place(gone) is None
    now = generation.place(shop.ids[9])
    assert now is not None
    assert generation.products["price"][now].as_py() == 7
    for row in shop.vectors:
        hits = search(generation, row[None], 60).hits
        found = [generation.id_of(hit.product) for hit in hits]
        assert sorted(found) == sorted(shop.ids[2:]), "each once, none that went"


def test_a_change_that_only_takes_away_is_a_delta(shop) -> None:
    live(shop, wanted(shop, "s1"))
    built = live(shop, wanted(shop, "s2", slice(3, None)))
    assert (built.plan.kind, built.plan.why) == ("delta", "0 products come, 3 of before go")
    assert sorted(ids(built.generation)) == sorted(shop.ids[3:])


def test_a_product_with_another_picture_comes_anew(shop) -> None:
    live(shop, wanted(shop, "s1"))
    want = wanted(shop, "s2")
    name = want.items["product_id"][0].as_py()
    boxes = want.items["box"].to_pylist()
    boxes[0] = "1,2,900,900"
    items = want.items.set_column(3, "box", pa.array(boxes))
    second = build(shop.store, "local", replace(want, items=items), ALIKE)
    assert (second.plan.kind, second.plan.come, second.plan.gone) == ("delta", {name}, {name})


def test_deltas_on_deltas_answer_as_a_base_of_the_same(shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(increment, "MAX_CHANGED", 1)
    rng = np.random.default_rng(3)
    live(shop, wanted(shop, "s0", slice(0, 50)))
    for step in range(6):
        first = int(rng.integers(0, 4))
        built = live(shop, wanted(shop, f"s{step + 1}", slice(first, 51 + step)))
        assert built.plan.kind == "delta"
    assert len(built.manifest.deltas) == 6
    generation = load(shop.store, built.manifest)
    shop.store.delete("environments/local.json")
    anew = build(shop.store, "local", wanted(shop, "anew", slice(first, 56)), ALIKE).generation
    assert sorted(ids(generation)) == sorted(ids(anew))
    for kind in ("product", "picture", "variant"):
        for xq in shop.vectors[::5]:
            both = [
                [
                    (one.id_of(hit.product), round(hit.score, 3))
                    for hit in search(one, xq[None], 10, collapse=kind).hits
                ]
                for one in (generation, anew)
            ]
            assert both[0] == both[1]
            assert generation.groupings[kind].count == anew.groupings[kind].count


@pytest.mark.parametrize(
    ("limit", "value", "why"),
    [
        ("MAX_DELTA_ROWS", 3, "deltas would have"),
        ("MAX_DELTAS", 0, "there are 0 deltas already"),
        ("MAX_CHANGED", 0.01, "more than 1%"),
    ],
)
def test_too_much_is_built_anew(
    shop, monkeypatch: pytest.MonkeyPatch, limit: str, value: float, why: str
) -> None:
    live(shop, wanted(shop, "s1", slice(4, None)))
    monkeypatch.setattr(increment, limit, value)
    built = live(shop, wanted(shop, "s2"))
    assert built.plan.kind == "full"
    assert why in built.plan.why
    assert not built.manifest.deltas
    assert sorted(ids(built.generation)) == sorted(shop.ids)


def test_another_model_is_built_anew(shop) -> None:
    live(shop, wanted(shop, "s1"))
    built = build(
        shop.store, "local", wanted(shop, "s2", models=replace(MODELS, embedder="embedder-2")), ALIKE
    )
    assert (built.plan.kind, built.plan.why) == ("full", "another model than that of what is live")


@pytest.mark.parametrize("snapshot", ["s1", "s2"])
def test_what_is_live_but_damaged_is_built_anew_and_mended(shop, snapshot: str) -> None:
    first = live(shop, wanted(shop, "s1"))
    base = first.manifest.segment("base")
    shop.store.put(base.key, shop.store.get(base.key)[:-1] + b"?")
    built = live(shop, wanted(shop, snapshot))
    assert built.plan.kind == "full"
    assert "does not have the hash that its name says" in built.plan.why
    assert (built.manifest.id == first.manifest.id) == (snapshot == "s1")
    released = status(shop.store, "local")
    assert released is not None
    load(shop.store, read_manifest(shop.store, released.generation, released.manifest_sha256))
    assert live(shop, wanted(shop, snapshot)).plan.kind == "nothing"


def test_a_new_product_joins_the_group_of_its_picture(shop) -> None:
    live(shop, wanted(shop, "s1", slice(4, None)))
    twin = shop.ids[10]
    own = [place for place, name in enumerate(shop.items["product_id"].to_pylist()) if name == twin]
    theirs = [place for place, name in enumerate(shop.items["product_id"].to_pylist()) if name == shop.ids[0]]
    shop.vectors[theirs] = shop.vectors[own[0]]
    shop.vectors[own] = shop.vectors[own[0]]
    # The twin's rows changed as well, as if it were embedded anew: the delta is of the new product alone.
    live(shop, wanted(shop, "s1b", slice(4, None), models=replace(MODELS, embedder="embedder-2")))
    second = live(shop, wanted(shop, "s2", models=replace(MODELS, embedder="embedder-2")))
    assert second.plan.kind == "delta"
    generation = second.generation
    new, old = generation.place(shop.ids[0]), generation.place(twin)
    assert new is not None and old is not None  # noqa: PT018
    of_product = generation.groupings["picture"].of_product
    assert of_product[new] == of_product[old]
    hits = search(generation, generation.vectors(new), 3, collapse="picture").hits
    assert {hits[0].product, *hits[0].also} == {new, old}


def test_vectors_of_a_delta_are_float16_beside_their_items(shop) -> None:
    live(shop, wanted(shop, "s1", slice(4, None)))
    second = live(shop, wanted(shop, "s2"))
    table = pq.read_table(shop.store.local_path(second.manifest.deltas[0].segment("items").key))
    assert table.schema.field(VECTOR).type == pa.list_(pa.float16(), shop.dim)
