"""What protobuf itself reads from the bytes is what went in."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.proto import geometry_pb2, search_pb2
from serving.services import wire

FIELDS = search_pb2.Product.DESCRIPTOR.fields_by_name
INTEGERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 1, 127, 128, 2**14 - 1, 2**14]))


def rows(parts: list[wire.Part]) -> list[bytes]:
    encoded = wire.joined(parts)
    read = wire.Rows(encoded)
    return [bytes(read[number]) for number in range(len(encoded))]


@given(st.lists(st.text(max_size=300) | st.none(), min_size=1, max_size=8))
def test_texts(values: list[str | None]) -> None:
    found = rows(wire.texts(FIELDS["name"].number, pa.array(values, pa.string())))
    assert [search_pb2.Product.FromString(row).name for row in found] == [value or "" for value in values]


@given(st.lists(st.lists(st.text(max_size=5), max_size=4), min_size=1, max_size=8), st.integers(0, 7))
def test_lists_of_texts(values: list[list[str]], start: int) -> None:
    array = pa.array(values, pa.list_(pa.string())).slice(start)  # a slice keeps its former offsets
    found = rows(wire.text_lists(FIELDS["image_urls"].number, array))
    assert [list(search_pb2.Product.FromString(row).image_urls) for row in found] == values[start:]


@given(st.lists(INTEGERS, min_size=1, max_size=8))
def test_integers(values: list[int]) -> None:
    found = rows(wire.integers(FIELDS["price"].number, np.array(values, np.int64)))
    assert [search_pb2.Product.FromString(row).price for row in found] == values


def test_floats() -> None:
    values = np.array([[0, 0.25, 1, 0.75], [0.1, 0.2, 0.3, 0.4]], np.float32)
    found = [geometry_pb2.Box.FromString(row) for row in rows(wire.floats(1, values))]
    assert found == [geometry_pb2.Box(x0=x0, y0=y0, x1=x1, y1=y1) for x0, y0, x1, y1 in values.tolist()]


def test_fields_of_one_row_lie_together() -> None:
    names, prices = pa.array(["ä", "b"]), np.array([3, 300])
    found = rows([*wire.texts(FIELDS["name"].number, names), *wire.integers(FIELDS["price"].number, prices)])
    assert [search_pb2.Product.FromString(row) for row in found] == [
        search_pb2.Product(name="ä", price=3),
        search_pb2.Product(name="b", price=300),
    ]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_texts_of_either_width(kind: pa.DataType) -> None:
    found = rows(wire.texts(FIELDS["brand"].number, pa.array(["one", "two"], kind)))
    assert [search_pb2.Product.FromString(row).brand for row in found] == ["one", "two"]
