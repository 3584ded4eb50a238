import numpy as np
import pyarrow as pa
import pytest

from imgsearch_assets.index.generation import build_generation
from serving.errors import BadInput, Conflict, NotFound, Unverified
from serving.index.artifact import load
from serving.index.generation import GROUPS, ITEMS, PRODUCTS
from serving.index.store import list_generations, read_manifest


def keys(shop) -> set[str]:
    return {key for prefix in ("segments", "generations") for key in shop.store.list(prefix)}


def test_the_same_content_is_the_same_generation(shop) -> None:
    first, done = shop.build(), []
    written = keys(shop)
    order = np.random.default_rng(0).permutation(shop.items.num_rows)
    again = build_generation(
        shop.store,
        shop.products.take(np.arange(shop.products.num_rows)[::-1].copy()),
        shop.items.take(order),
        shop.vectors[order],
        embedder=shop.embedder,
        preprocessing="pre-1",
        detector="detector-1",
        snapshot="snapshot-1",
        advance=done.append,
    )
    assert again == first
    assert keys(shop) == written
    assert sum(done) == shop.items.num_rows


def test_anything_else_is_another(shop) -> None:
    manifests = [shop.build()]
    manifests += [
        shop.build(**{name: "other"}) for name in ("embedder", "preprocessing", "detector", "snapshot")
    ]
    shop.vectors = shop.vectors[:, ::-1]
    manifests.append(shop.build())
    assert len({manifest.id for manifest in manifests}) == 6


def test_a_price_needs_no_new_graph(shop) -> None:
    first = shop.build("monday")
    prices = pa.array([1] * shop.products.num_rows)
    place = PRODUCTS.get_field_index("price")
    shop.products = shop.products.set_column(place, PRODUCTS.field("price"), prices)
    second = shop.build("tuesday")
    assert second.id != first.id
    assert second.segment("base") == first.segment("base")
    assert second.segment("products") != first.segment("products")
    assert load(shop.store, second).products["price"].to_pylist() == [1] * second.products


def test_a_damaged_graph_is_not_taken_over(shop) -> None:
    first = shop.build("monday")
    base = first.segment("base")
    shop.store.put(base.key, shop.store.get(base.key)[:-1] + b"?")
    second = shop.build("tuesday")
    load(shop.store, second)
    shop.store.put(second.key, b"{}")
    load(shop.store, shop.build("wednesday"))


@pytest.mark.parametrize("how", ["flipped", "cut", "missing"])
@pytest.mark.parametrize("kind", ["base", "items", "products", "manifest"])
def test_a_damaged_generation_is_mended_by_the_same_build(shop, kind: str, how: str) -> None:
    first = shop.build()
    key = first.key if kind == "manifest" else first.segment(kind).key
    damage(shop.store, key, how)
    with pytest.raises((NotFound, Unverified)):
        load(shop.store, read_manifest(shop.store, first.id))
    second = shop.build()
    assert second.id == first.id
    assert load(shop.store, read_manifest(shop.store, first.id)).products_there == first.products
    assert shop.build() == second, "and once it is whole nothing is written"


def damage(store, key: str, how: str) -> None:
    whole = store.get(key)
    if how == "missing":
        store.delete(key)
    else:
        store.put(key, whole[:-9] + b"?" * 9 if how == "flipped" else whole[:-1])


def test_a_delta_on_a_base_that_was_written_anew_names_that_one(shop) -> None:
    first = shop.build()
    gone = shop.without(first, shop.ids[:2])
    damage(shop.store, first.segment("base").key, "missing")
    again = shop.without(shop.build(), shop.ids[:2])
    assert again.id == gone.id
    assert load(shop.store, read_manifest(shop.store, again.id)).products_there == gone.products


class Pruned:
    """A store of which somebody prunes a file just before the manifest is written."""

    def __init__(self, store, key: str) -> None:
        self._store, self._key = store, key

    def __getattr__(self, name):
        return getattr(self._store, name)

    def exclusive(self, key):
        self._store.delete(self._key)
        return self._store.exclusive(key)


@pytest.mark.parametrize("kind", ["base", "items", "products"])
def test_a_file_that_is_removed_while_a_generation_is_built_is_noticed(shop, kind: str) -> None:
    whole, key = shop.store, shop.build("monday").segment(kind).key
    shop.store = Pruned(whole, key)
    with pytest.raises(Conflict, match=f"{key}: removed while generation .* was built; build it anew"):
        shop.build("tuesday")
    shop.store = whole
    load(shop.store, shop.build("tuesday"))


def test_products_without_a_picture_stay_out_and_further_columns_stay_in(shop) -> None:
    stranger = pa.table({name: shop.products[name].slice(0, 1) for name in PRODUCTS.names}).set_column(
        0, PRODUCTS.field("product_id"), pa.array(["p99999"])
    )
    shop.products = pa.concat_tables([shop.products, stranger]).append_column(
        "fingerprint", pa.array(range(len(shop.ids) + 1))
    )
    generation = load(shop.store, shop.build())
    assert generation.place("p99999") is None
    assert generation.products.column_names == [*PRODUCTS.names, *GROUPS.names, "fingerprint"]
    assert generation.products["fingerprint"][0].as_py() == shop.ids.index("p00000")


def test_groups_are_kept_and_are_part_of_the_content(shop) -> None:
    alone = shop.build()
    assert load(shop.store, alone).groupings["picture"].count == 60
    groups = [min(name, f"p{int(name[1:]) // 3 * 3:05d}") for name in shop.ids]
    shop.products = shop.products.append_column("picture_group", pa.array(groups))
    grouped = shop.build()
    assert grouped.id != alone.id
    generation = load(shop.store, grouped)
    assert generation.groupings["picture"].of_product.tolist() == [place // 3 * 3 for place in range(60)]
    assert generation.groupings["variant"].count == 60


def test_the_graph_of_a_generation_of_the_former_format_is_taken_over(shop, as_of_format_1) -> None:
    old = as_of_format_1(shop.store, shop.build())
    new = shop.build("tuesday")
    assert new.segment("base") == old.segment("base")


def test_one_row_is_an_index(shop) -> None:
    name = shop.items["product_id"][0].as_py()
    shop.items, shop.vectors = shop.items.slice(0, 1), shop.vectors[:1]
    manifest = shop.build()
    assert (manifest.products, manifest.rows, manifest.figures.recall_at_10) == (1, 1, 1.0)
    assert load(shop.store, manifest).base.attributes.ids.to_pylist() == [name]


def test_figures_are_measured(shop) -> None:
    figures = shop.build().figures
    assert figures.recall_at_10 >= 0.95
    assert figures.recall_queries == 3 * shop.items.num_rows
    assert figures.norm_error < 1e-6
    shop.vectors = shop.vectors * 1.5
    assert shop.build().figures.norm_error == pytest.approx(0.5, abs=1e-5)


def test_missing_texts_are_empty(shop) -> None:
    place = PRODUCTS.get_field_index("brand")
    nothing = pa.nulls(shop.products.num_rows, pa.string())
    shop.products = shop.products.set_column(place, PRODUCTS.field("brand"), nothing)
    assert load(shop.store, shop.build()).base.attributes.facets["brand"].values == [""]


def broken(shop, what: str) -> None:
    match what:
        case "fewer vectors":
            shop.vectors = shop.vectors[1:]
        case "no vectors":
            shop.items, shop.vectors = shop.items.slice(0, 0), shop.vectors[:0]
        case "not finite":
            shop.vectors[3, 4] = np.nan
        case "twice":
            shop.products = pa.concat_tables([shop.products, shop.products.slice(0, 1)])
        case "stranger":
            shop.products = shop.products.slice(1)
        case "no price":
            prices = pa.array([None, *range(1, 60)], pa.int64())
            shop.products = shop.products.set_column(
                PRODUCTS.get_field_index("price"), PRODUCTS.field("price"), prices
            )
        case "stray group":
            names = pa.array(["nobody", *shop.ids[1:]])
            shop.products = shop.products.append_column("picture_group", names)
        case "no column":
            shop.items = shop.items.drop_columns(ITEMS.names[2])


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("fewer vectors", r"\d+ items and vectors of shape \(\d+, 16\) do not fit together"),
        ("no vectors", "there is nothing to index: no item has a vector"),
        ("not finite", "a vector holds a number that is not finite"),
        ("twice", "products: a product_id occurs twice"),
        ("stranger", r"items: p\d+ is not among the products"),
        ("no price", "products: 1 rows have no price"),
        ("stray group", "products: picture_group nobody is no product with an item"),
        ("no column", "items: the column sha256 is missing"),
    ],
)
def test_parts_that_do_not_fit_are_refused(shop, what: str, text: str) -> None:
    broken(shop, what)
    with pytest.raises(BadInput, match=text):
        shop.build()
    assert list(list_generations(shop.store)) == []
