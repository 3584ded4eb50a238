import gc
import weakref
from dataclasses import replace

import pyarrow as pa
import pytest

from serving.images.box import Box
from serving.index.artifact import load
from serving.index.generation import PRODUCTS
from serving.index.loaded import Generation
from serving.index.search import Found, Hit
from serving.proto import geometry_pb2, search_pb2
from serving.services import cards
from serving.services.cards import Cards
from serving.services.stock import Shelf


def column(generation: Generation) -> "memoryview[bytes]":
    return Shelf(generation).now.as_bytes


def result(told: Cards, found: Found, in_stock: "memoryview[bytes]") -> search_pb2.Result:
    return search_pb2.Result.FromString(told.result(found, in_stock))


def test_a_card_says_what_the_tables_say(shop) -> None:
    generation = load(shop.store, shop.build())
    told = Cards(generation)
    products = generation.products.select(PRODUCTS.names).to_pylist()
    in_stock = column(generation)
    assert [told.product(place, in_stock) for place in range(len(products))] == [
        search_pb2.Product(**product) for product in products
    ]
    row = 17
    item, place = generation.items.slice(row, 1).to_pylist()[0], int(generation.row_product[row])
    box = Box.from_key(item["box"])
    hit = Hit(product=place, row=row, score=-0.25, also=(3, 1))
    assert result(told, Found([hit], "graph", 12, True), in_stock) == search_pb2.Result(
        hits=[
            search_pb2.Hit(
                product=search_pb2.Product(**products[place]),
                score=-0.25,
                also_product_ids=[products[3]["product_id"], products[1]["product_id"]],
                image_url=item["image_url"],
                image_sha256=item["sha256"],
                box=geometry_pb2.Box(x0=box.x0, y0=box.y0, x1=box.x1, y1=box.y1),
            )
        ],
        plan="graph",
        rows_scanned=12,
        exhausted=True,
    )


def test_tables_of_several_pieces(shop) -> None:
    generation = load(shop.store, shop.build())

    def in_pieces(table: pa.Table) -> pa.Table:
        return pa.concat_tables([table.slice(0, 10), table.slice(10)])

    base = generation.base
    pieces = replace(
        generation,
        base=replace(base, products=in_pieces(base.products), items=in_pieces(base.items)),
    )
    found = Found([Hit(product=20, row=11, score=0.5)], "exact", 1, False)
    in_stock = column(generation)
    assert result(Cards(pieces), found, in_stock) == result(Cards(generation), found, in_stock)


@pytest.mark.parametrize("in_stock", [b"\0", b"\1"])
def test_a_card_says_what_is_in_stock_now(shop, in_stock: bytes) -> None:
    first = shop.build()
    generation = load(shop.store, shop.changed(first, shop.ids[:2]))
    told, now = Cards(generation), memoryview(in_stock * generation.size).cast("c")
    places = range(generation.size)
    assert {told.product(place, now).in_stock for place in places} == {in_stock == b"\1"}
    found = Found([Hit(place, generation.first_row(place), 0.5, (0,)) for place in places], "graph", 1, False)
    wanted, hits = generation.products["product_id"].to_pylist(), result(told, found, now).hits
    assert [hit.product.product_id for hit in hits] == wanted
    assert {hit.product.in_stock for hit in hits} == {in_stock == b"\1"}
    assert all(hit.image_url and hit.product.image_urls and hit.score == 0.5 for hit in hits)


def test_what_was_made_of_a_base_is_kept_as_long_as_the_base(shop, monkeypatch: pytest.MonkeyPatch) -> None:
    first = shop.build()
    generation = load(shop.store, first)
    mine = Cards(generation)
    monkeypatch.setattr(cards, "_products", None)  # what is not made again
    later = shop.without(first, shop.ids[:1])
    other = load(shop.store, later, generation)
    in_stock = column(generation)
    assert [Cards(other).product(place, in_stock) for place in range(60)] == [
        mine.product(place, in_stock) for place in range(60)
    ]
    base = weakref.ref(generation.base)
    del generation, other, mine
    gc.collect()
    assert base() is None
