import gc
from dataclasses import replace

import pyarrow as pa

from serving.images.box import Box
from serving.index.artifact import load
from serving.index.generation import PRODUCTS
from serving.index.search import Found, Hit
from serving.proto import geometry_pb2, search_pb2
from serving.services.cards import Cards, cards


def result(told: Cards, found: Found) -> search_pb2.Result:
    reply = search_pb2.SearchReply()
    told.add_result(reply, found)
    (one,) = reply.results
    return one


def test_a_card_says_what_the_tables_say(shop) -> None:
    generation = load(shop.store, shop.build())
    told = Cards(generation)
    products = generation.products.select(PRODUCTS.names).to_pylist()
    assert [told.product(place) for place in range(len(products))] == [
        search_pb2.Product(**product) for product in products
    ]
    row = 17
    item, place = generation.items.slice(row, 1).to_pylist()[0], int(generation.row_product[row])
    box = Box.from_key(item["box"])
    hit = Hit(product=place, row=row, score=-0.25, also=(3, 1))
    assert result(told, Found([hit], "graph", 12, True)) == search_pb2.Result(
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

    pieces = replace(generation, products=in_pieces(generation.products), items=in_pieces(generation.items))
    found = Found([Hit(product=20, row=11, score=0.5)], "exact", 1, False)
    assert result(Cards(pieces), found) == result(Cards(generation), found)


def test_they_are_made_once_and_end_with_their_generation(shop) -> None:
    generation = load(shop.store, shop.build())
    mine = cards(generation)
    assert cards(generation) is mine
    other = load(shop.store, shop.build("s2"))
    assert cards(other) is not mine
    before = len(gc.get_referrers(mine))
    del generation
    gc.collect()
    assert len(gc.get_referrers(mine)) == before - 1
