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
_SCORE_TAG, _SCORE = wire.FLOAT | _HIT["score"].number << 3, struct.Struct("<Bf")


class _Encoded:
    """The products and rows of a part."""

    def __init__(self, part: Part) -> None:
        self.ids = part.attributes.ids
        self.products = wire.Rows(_products(part.products))
        self.pictures = wire.Rows(_pictures(part.items))


class Cards:
    """Of one generation. Takes about as much memory as its tables."""

    def __init__(self, generation: Generation) -> None:
        # From where on a number is one of the deltas.
        self._first_product, self._first_row = generation.base.size, generation.base.rows
        self._base, self._delta = (_encoded(part) for part in (generation.base, generation.delta))

    def _product(self, number: int) -> Any:
        later = number - self._first_product
        return self._base.products[number] if later < 0 else self._delta.products[later]

    def _id(self, number: int) -> Any:
        later = number - self._first_product
        return (self._base.ids[number] if later < 0 else self._delta.ids[later]).as_py()

    def _picture(self, row: int) -> Any:
        later = row - self._first_row
        return self._base.pictures[row] if later < 0 else self._delta.pictures[later]

    def product(self, place: int) -> search_pb2.Product:
        """The product of that number."""
        return search_pb2.Hit.FromString(bytes(self._product(place))).product

    def result(self, found: Found) -> bytes:
        """What was found, with everything that is known of it, as an encoded ``Result``."""
        parts: list[bytes | memoryview] = []
        for product, row, score, also in found.hits:
            shown, picture = self._product(product), self._picture(row)
            length = len(shown) + len(picture) + _SCORE.size
            if also:
                others = self._others(also)
                parts += (wire.head(_HITS, length + len(others)), others)
            else:
                parts.append(wire.head(_HITS, length))
            parts += (shown, picture, _SCORE.pack(_SCORE_TAG, score))
        parts.append(_rest(found.plan, found.rows_scanned, found.exhausted))
        return b"".join(parts)

    def _others(self, also: tuple[int, ...]) -> bytes:
        """As the field of a ``Hit``."""
        return search_pb2.Hit(also_product_ids=[self._id(other) for other in also]).SerializeToString()


@lru_cache(1024)
def _rest(plan: str, rows_scanned: int, exhausted: bool) -> bytes:
    """What a ``Result`` says beside its hits."""
    return search_pb2.Result(plan=plan, rows_scanned=rows_scanned, exhausted=exhausted).SerializeToString()


def _products(products: pa.Table) -> wire.Bytes:
    """Each product, as the field of a ``Hit``."""
    parts = []
    for name, field in _PRODUCT.items():
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


def _encoded(part: Part | None) -> Any:
    if part is None:
        return None
    found = _ENCODED.get(part)
    if found is None:
        found = _ENCODED[part] = _Encoded(part)
    return found
