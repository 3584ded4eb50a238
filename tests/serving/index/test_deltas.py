"""Generations that are a base and deltas: what is read of them, what is refused."""

import numpy as np
import pyarrow as pa
import pytest

from imgsearch_assets.index.generation import build_delta
from imgsearch_assets.tables import parquet_bytes, read_parquet
from serving.errors import BadInput, NotFound, Unverified
from serving.index.artifact import load, write_segment
from serving.index.filters import Filter
from serving.index.generation import VECTOR, Delta, Kind, Manifest, generation_id
from serving.index.search import search, search_each


def part(shop, names: list[str]) -> tuple[pa.Table, pa.Table, np.ndarray]:
    """The products of these names, their items and vectors."""
    places = [shop.ids.index(name) for name in names]
    rows = [row for row, name in enumerate(shop.items["product_id"].to_pylist()) if name in names]
    products = shop.products.take(pa.array(places, pa.int64()))
    return products, shop.items.take(pa.array(rows, pa.int64())), shop.vectors[rows]


def delta(shop, parent: Manifest, come: list[str], removed: list[str], snapshot: str = "later") -> Manifest:
    return build_delta(shop.store, parent, *part(shop, come), removed, snapshot=snapshot)


@pytest.fixture
def base(shop) -> Manifest:
    """Of all products but the first five."""
    everything = shop.products, shop.items, shop.vectors
    own = np.isin(shop.items["product_id"].to_pylist(), shop.ids[5:])
    shop.products, shop.items, shop.vectors = (
        shop.products.slice(5),
        shop.items.filter(pa.array(own)),
        shop.vectors[own],
    )
    manifest: Manifest = shop.build()
    shop.products, shop.items, shop.vectors = everything
    return manifest


@pytest.fixture
def grown(shop, base: Manifest) -> Manifest:
    """Two came, one went; then another came and one of the first two changed."""
    first = delta(shop, base, shop.ids[:2], shop.ids[7:8])
    return delta(shop, first, [shop.ids[2], shop.ids[0]], shop.ids[:1], "latest")


def test_a_base_that_is_loaded_is_taken_over(shop, base: Manifest, grown: Manifest) -> None:
    before = load(shop.store, base)
    for segment in base.segments:
        shop.store.delete(segment.key)
    generation = load(shop.store, grown, before)
    assert generation.base is before.base
    assert generation.products_there == grown.products == 55 + 3 - 1
    assert grown.rows == generation.base.rows + sum(one.rows for one in grown.deltas)
    assert generation.alive_rows < grown.rows
    before_that = load(shop.store, base, generation)
    assert (before_that.base, before_that.delta) == (before.base, None)


def test_what_a_product_is_now(shop, grown: Manifest) -> None:
    generation = load(shop.store, grown)
    assert generation.place(shop.ids[7]) is None
    assert generation.place("nobody") is None
    for name in (*shop.ids[:3], *shop.ids[8:]):
        place = generation.place(name)
        assert place is not None
        assert generation.id_of(place) == name
        assert generation.items["product_id"][generation.first_row(place)].as_py() == name
        _, _, vectors = part(shop, [name])
        assert len(generation.vectors(place)) == len(vectors)
        assert (generation.vectors(place) @ vectors.T).max(axis=0).min() > 0.999
    assert sorted(generation.id_of(int(place)) for place in generation.present()) == sorted(
        {*shop.ids[:3], *shop.ids[5:]} - {shop.ids[7]}
    )


def test_filters_hold_over_base_and_deltas(shop, grown: Manifest) -> None:
    generation = load(shop.store, grown)
    there = {*shop.ids[:3], *shop.ids[5:]} - {shop.ids[7]}
    for wanted in (
        Filter(category=frozenset({"dress"})),
        Filter(in_stock_only=True, price_max=1_030),
        Filter(excluded=frozenset({shop.ids[0], shop.ids[7], shop.ids[9]})),
    ):
        fits = {
            row["product_id"]
            for row in shop.products.to_pylist()
            if row["product_id"] in there - wanted.excluded
            and (not wanted.category or row["category"] in wanted.category)
            and (not wanted.in_stock_only or row["in_stock"])
            and (wanted.price_max is None or row["price"] <= wanted.price_max)
        }
        found = search(generation, shop.vectors[:1], 60, generation.mask(wanted))
        assert {generation.id_of(hit.product) for hit in found.hits} == fits
        assert found.exhausted


def test_the_graph_and_the_deltas_are_merged(big_shop) -> None:
    """Large enough that the graph is searched."""
    shop = big_shop
    parent = shop.build()
    far = -shop.vectors[:40]
    names = [f"q{number:03d}" for number in range(40)]
    products = shop.products.slice(0, 40).set_column(0, "product_id", pa.array(names))
    items = shop.items.slice(0, 40).set_column(0, "product_id", pa.array(names))
    gone = shop.ids[100:200]
    generation = load(
        shop.store, build_delta(shop.store, parent, products, items, far, gone, snapshot="merged")
    )
    assert generation.products_there == 8_000 + 40 - 100
    stored = generation.vectors_of(np.arange(generation.manifest.rows))
    alive = generation.everything()
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(20, shop.dim)) * 0.3 / shop.dim**0.5
    near = np.concatenate([far[:10], shop.vectors[:10]]) + noise
    xq = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    together = search_each(generation, list(xq[:, None]), 10)
    assert {found.plan for found in together} == {"graph"}
    same = wanted_hits = 0
    for row, each in zip(xq, together, strict=True):
        found = search(generation, row[None], 10)
        assert found.plan == "graph"
        assert [hit.product for hit in found.hits] == [hit.product for hit in each.hits]
        assert alive[[hit.product for hit in found.hits]].all()
        scores = np.full(generation.size, -2.0)
        np.maximum.at(scores, generation.row_product, stored @ row)
        scores[~alive] = -2
        least = np.sort(scores)[-10]
        same += sum(hit.score >= least - 2e-3 for hit in found.hits)
        wanted_hits += 10
    assert same / wanted_hits >= 0.95
    assert {generation.id_of(found.hits[0].product) for found in together[:10]} == set(names[:10])


def test_the_graph_finds_nothing_that_went_where_nothing_came(big_shop) -> None:
    shop = big_shop
    gone = shop.ids[:300]
    generation = load(shop.store, shop.without(shop.build(), gone))
    assert generation.delta is None
    own = np.isin(shop.items["product_id"].to_pylist(), gone)
    for row in shop.vectors[own][::40]:
        found = search(generation, row[None], 10)
        assert found.plan == "graph"
        assert not {generation.id_of(hit.product) for hit in found.hits} & set(gone)


def test_a_damaged_file_of_a_delta_is_refused(shop, base: Manifest, grown: Manifest) -> None:
    before = load(shop.store, base)
    rng = np.random.default_rng(0)
    for one in grown.deltas:
        for segment in one.segments:
            data = shop.store.get(segment.key)
            for place in rng.integers(len(data), size=20):
                broken = bytearray(data)
                broken[place] ^= 1 << int(rng.integers(8))
                shop.store.put(segment.key, bytes(broken))
                with pytest.raises(Unverified, match="does not have the hash that its name says"):
                    load(shop.store, grown, before)
            shop.store.put(segment.key, data[:-1])
            with pytest.raises(Unverified, match=f"has {len(data) - 1} bytes, not {len(data)}"):
                load(shop.store, grown, before)
            other = next(found for found in grown.files if found != segment)
            shop.store.put(segment.key, shop.store.get(other.key))
            with pytest.raises(Unverified):
                load(shop.store, grown, before)
            shop.store.delete(segment.key)
            with pytest.raises(NotFound, match=segment.key):
                load(shop.store, grown, before)
            shop.store.put(segment.key, data)
    load(shop.store, grown, before)


def rewritten(shop, manifest: Manifest, kind: Kind, table: pa.Table) -> Manifest:
    """With another table in its last delta, as a publisher in error might write it."""
    last = manifest.deltas[-1]
    segments = tuple(
        write_segment(shop.store, kind, parquet_bytes(table)) if segment.kind == kind else segment
        for segment in last.segments
    )
    counts = {
        "items": {"rows": table.num_rows},
        "products": {"products": table.num_rows},
        "removed": {"removed": table.num_rows},
    }
    changed = last.model_copy(update={"segments": segments, **counts[kind]})
    fields = {
        **dict(manifest),
        "deltas": (*manifest.deltas[:-1], Delta(**dict(changed))),
        "rows": manifest.rows + changed.rows - last.rows,
        "products": manifest.products + changed.products - last.products - changed.removed + last.removed,
    }
    fields["id"] = generation_id(
        items_sha256=manifest.segment("items").sha256,
        products_sha256=manifest.segment("products").sha256,
        **fields,
    )
    return Manifest.model_validate(fields)


def last_table(shop, manifest: Manifest, kind: Kind) -> pa.Table:
    return read_parquet(shop.store, manifest.deltas[-1].segment(kind).key)


def test_a_delta_takes_away_only_what_is_there(shop, grown: Manifest) -> None:
    for stranger in ("nobody", shop.ids[7]):
        removed = pa.table({"product_id": [stranger]})
        with pytest.raises(Unverified, match=f"takes away product {stranger}, which is not there"):
            load(shop.store, rewritten(shop, grown, "removed", removed))


def test_a_delta_brings_only_what_is_not_there(shop, base: Manifest) -> None:
    with pytest.raises(Unverified, match=f"brings product {shop.ids[9]}, which is there already"):
        load(shop.store, delta(shop, base, [shop.ids[9]], []))


@pytest.mark.parametrize(
    ("name", "text"),
    [("nobody", "has the name of no product of the generation"), ("gone", "has the name of no product")],
)
def test_a_group_is_that_of_a_product_that_is_there(shop, grown: Manifest, name: str, text: str) -> None:
    products = last_table(shop, grown, "products")
    column = pa.array([shop.ids[7] if name == "gone" else name] * products.num_rows)
    place = products.schema.get_field_index("picture_group")
    with pytest.raises(Unverified, match=text):
        load(
            shop.store,
            rewritten(shop, grown, "products", products.set_column(place, "picture_group", column)),
        )


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 60_000.0])
def test_vectors_of_a_delta_have_unit_length(shop, grown: Manifest, value: float) -> None:
    items = last_table(shop, grown, "items")
    vectors = np.full((items.num_rows, shop.dim), value, np.float16)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), shop.dim)
    place = items.schema.get_field_index(VECTOR)
    with pytest.raises(Unverified, match="a row that is not of unit length"):
        load(shop.store, rewritten(shop, grown, "items", items.set_column(place, VECTOR, column)))


def test_vectors_of_a_delta_have_the_dimensions_of_the_base(shop, grown: Manifest) -> None:
    items = last_table(shop, grown, "items")
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(items.num_rows, np.float16)), 1)
    place = items.schema.get_field_index(VECTOR)
    with pytest.raises(Unverified, match=f"no column {VECTOR} of type fixed_size_list"):
        load(shop.store, rewritten(shop, grown, "items", items.set_column(place, VECTOR, column)))
    with pytest.raises(BadInput, match="vectors have 8 dimensions"):
        products, items, vectors = part(shop, shop.ids[3:4])
        build_delta(shop.store, grown, products, items, vectors[:, :8], (), snapshot="short")


def test_a_product_of_a_delta_has_a_picture(shop, grown: Manifest) -> None:
    items = last_table(shop, grown, "items")
    name = items["product_id"][0].as_py()
    one = items.filter(pa.array([other != name for other in items["product_id"].to_pylist()]))
    with pytest.raises(Unverified, match=f"product {name} has no item"):
        load(shop.store, rewritten(shop, grown, "items", one))


def test_counts_are_held_to_the_manifest(shop, base: Manifest) -> None:
    twice = delta(shop, delta(shop, base, shop.ids[:1], []), shop.ids[1:2], [])
    fields = {**dict(twice), "products": 55}
    with pytest.raises(Unverified, match=r"rows, not|\d products"):
        load(shop.store, Manifest.model_validate(fields))


def test_nothing_changed_is_the_parent_and_nothing_left_is_refused(shop, base: Manifest) -> None:
    assert delta(shop, base, [], []) == base
    with pytest.raises(BadInput, match=f"no product would be left of generation {base.id}"):
        delta(shop, base, [], shop.ids[5:])


def test_only_removed_products(shop, base: Manifest) -> None:
    generation = load(shop.store, delta(shop, base, [], shop.ids[10:13]))
    assert generation.products_there == 52
    found = search(generation, shop.vectors[:1], 60)
    assert not {generation.id_of(hit.product) for hit in found.hits} & set(shop.ids[10:13])
    assert len(found.hits) == 52


def test_the_id_is_that_of_the_content(shop, base: Manifest) -> None:
    one, again = (delta(shop, base, shop.ids[:1], []) for _ in range(2))
    assert one == again
    assert one.id == one.expected_id()
    assert Manifest.model_validate_json(one.to_json()) == one
