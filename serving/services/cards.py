"""What an answer says of products and of the pictures that matched: encoded once for a whole generation."""

import struct
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving.images.box import GRID
from serving.index.loaded import Generation
from serving.index.part import Part
from serving.index.search import Found
from serving.proto import geometry_pb2, search_pb2
from serving.services import wire

_PRODUCT = search_pb2.Product.DESCRIPTOR.fields_by_name
_HIT = search_pb2.Hit.DESCRIPTOR.fields_by_name
_BOX = geometry_pb2.Box.DESCRIPTOR.fields_by_name
_HITS = search_pb2.Result.DESCRIPTOR.fields_by_name["hits"].number
# Products are encoded as the field of a hit; as that of a result they begin with another tag of one byte.
_RESULT_PRODUCT = bytes([search_pb2.Result.DESCRIPTOR.fields_by_name["product"].number << 3 | wire.LENGTH])
_SCORE_TAG, _SCORE = wire.FLOAT | _HIT["score"].number << 3, struct.Struct("<Bf")


class _Encoded:
    """The products and rows of a part. A product ends with the byte that says whether it is in stock."""

    def __init__(self, part: Part) -> None:
        self.products = wire.Rows(_products(part.products))
        self.pictures = wire.Rows(_pictures(part.items))


class Cards:
    """Of one generation. Takes about as much memory as its tables."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        encoded = [_encoded(part) for part in generation.parts]  # now, and not at the first search
        self._base, self._last = encoded[0], encoded[-1]

    def product(self, place: int, in_stock: "memoryview[bytes]") -> search_pb2.Product:
        """The product of that number."""
        return search_pb2.Hit.FromString(self._product(place, in_stock)).product

    def _product(self, place: int, in_stock: "memoryview[bytes]") -> bytes:
        """As the field of a ``Hit``."""
        part, at = self._generation.part_of(place)
        encoded = self._base if part is self._generation.base else self._last
        return bytes(encoded.products[at][:-1]) + in_stock[place]

    def result(self, found: Found, in_stock: "memoryview[bytes]", asked: int | None = None) -> bytes:
        """What was found, with everything that is known of it, as an encoded ``Result``.

        ``in_stock`` holds a byte a stored product, 1 or 0, as memory of the kind "c". ``asked`` is the number
        of the product that it was searched with, if it was one.
        """
        # A third of a search's Python is this loop: it calls nothing that it can do without.
        base_rows, products, pictures = self._generation.base.rows, self._base.products, self._base.pictures
        product_at, product_data = products.starts, products.data
        picture_at, picture_data = pictures.starts, pictures.data
        parts: list[bytes | memoryview] = []
        for product, row, score, also in found.hits:
            if row < base_rows:
                shown = product_data[product_at[product] : product_at[product + 1] - 1]
                picture = picture_data[picture_at[row] : picture_at[row + 1]]
            else:
                shown, picture = self._of_delta(product, row)
            others = self._others(also) if also else b""
            length = len(shown) + 1 + len(picture) + _SCORE.size + len(others)
            head, stock = wire.head(_HITS, length), in_stock[product]
            parts += (head, shown, stock, picture, _SCORE.pack(_SCORE_TAG, score), others)
        parts.append(_rest(found.plan, found.rows_scanned, found.exhausted))
        if asked is not None:
            parts += (_RESULT_PRODUCT, self._product(asked, in_stock)[1:])
        return b"".join(parts)

    def _of_delta(self, product: int, row: int) -> tuple[memoryview, memoryview]:
        base = self._generation.base
        return self._last.products[product - base.size][:-1], self._last.pictures[row - base.rows]

    def _others(self, also: tuple[int, ...]) -> bytes:
        """As the field of a ``Hit``."""
        ids = [self._generation.id_of(other) for other in also]
        return search_pb2.Hit(also_product_ids=ids).SerializeToString()


@lru_cache(1024)
def _rest(plan: str, rows_scanned: int, exhausted: bool) -> bytes:
    """What a ``Result`` says beside its hits."""
    return search_pb2.Result(plan=plan, rows_scanned=rows_scanned, exhausted=exhausted).SerializeToString()


def _products(products: pa.Table) -> wire.Bytes:
    """Each product, as the field of a ``Hit``; last whether it is in stock."""
    parts = []
    for name, field in sorted(_PRODUCT.items(), key=lambda item: item[0] == "in_stock"):
        column = _whole(products[name])
        if name == "image_urls":
            parts += wire.text_lists(field.number, column)
        elif field.type == field.TYPE_STRING:
            parts += wire.texts(field.number, column)
        else:
            parts += wire.integers(field.number, column.cast(pa.int64()).to_numpy())
    return wire.joined(wire.texts(_HIT["product"].number, wire.joined(parts)))


def _pictures(items: pa.Table) -> wire.Bytes:
    """Each row's picture and box, as the fields of a ``Hit``."""
    sides = pc.list_flatten(pc.split_pattern(_whole(items["box"]), ",")).cast(pa.int64()).to_numpy()
    boxes = wire.joined(wire.floats(_BOX["x0"].number, (sides.reshape(-1, 4) / GRID).astype(np.float32)))
    return wire.joined(
        [
            *wire.texts(_HIT["image_url"].number, _whole(items["image_url"])),
            *wire.texts(_HIT["image_sha256"].number, _whole(items["sha256"])),
            *wire.texts(_HIT["box"].number, boxes),
        ]
    )


def _whole(column: Any) -> Any:
    """As one array. Texts of more bytes than 32 bits can count come in several."""
    if column.num_chunks > 1 and pa.types.is_string(column.type):
        column = column.cast(pa.large_string())
    return column.combine_chunks()


# A swap that keeps the base keeps what was made of it.
_ENCODED: WeakKeyDictionary[Part, _Encoded] = WeakKeyDictionary()


def _encoded(part: Part) -> _Encoded:
    found = _ENCODED.get(part)
    if found is None:
        found = _ENCODED[part] = _Encoded(part)
    return found
