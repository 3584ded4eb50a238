"""The rows of a generation as entities of a collection."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.index.filters import FACETS
from serving.index.loaded import Generation
from serving.index.part import rows_in
from serving.milvus.collection import ABOUT, PICTURE_FIELDS, PRODUCT_FIELDS, VECTOR, size_field
from serving.milvus.expression import product_key

# With the longest texts that the catalogue's contract lets through still below Milvus's 64 MiB a message.
_BATCH = 500


def rows_there(generation: Generation) -> NDArray[np.int64]:
    """int64: the rows of products that are there, one product's after the other's."""
    return rows_in(*generation.spans(generation.present()))


def entities(generation: Generation) -> Iterator[list[dict[str, Any]]]:
    """All rows that are there, in batches. Products that went, and their rows, are left out."""
    rows = rows_there(generation)
    of_row = generation.row_product[rows]
    firsts = np.diff(of_row, prepend=-1) != 0
    numbers = _numbers(generation)
    for start in range(0, len(rows), _BATCH):
        batch, products = rows[start : start + _BATCH], of_row[start : start + _BATCH]
        columns = {
            "row": batch,
            "first": firsts[start : start + _BATCH],
            **{name: column[products] for name, column in numbers.items()},
        }
        told = zip(
            generation.vectors_of(batch),
            generation.products.take(products).to_pylist(),
            generation.items.select(PICTURE_FIELDS).take(batch).to_pylist(),
            zip(*(column.tolist() for column in columns.values()), strict=True),
            strict=True,
        )
        yield [
            {
                VECTOR: vector,
                ABOUT: "",
                "product_key": product_key(product["product_id"]),
                **{name: product[name] for name in PRODUCT_FIELDS},
                **picture,
                **dict(zip(columns, values, strict=True)),
            }
            for vector, product, picture, values in told
        ]


def description_entities(pieces: list[str], one: dict[str, Any]) -> list[dict[str, Any]]:
    """For a description; fields that do not matter are those of ``one``, an entity of a row."""
    return [one | {"row": -1 - number, "first": False, ABOUT: piece} for number, piece in enumerate(pieces)]


def _numbers(generation: Generation) -> dict[str, NDArray[Any]]:
    """By field, for each stored product: its groups, how many products they have, its values' numbers."""
    found: dict[str, NDArray[Any]] = {}
    for collapse, grouping in generation.groupings.items():
        found[collapse] = grouping.of_product
        found[size_field(collapse)] = grouping.sizes(generation.alive)[grouping.of_product]
    for facet in FACETS:
        code_of = {value: code for code, value in enumerate(generation.values(facet))}
        codes = []
        for part in generation.parts:
            own = part.attributes.facets[facet]
            codes.append(np.array([code_of[value] for value in own.values])[own.codes])
        found[f"{facet}_code"] = np.concatenate(codes)
    return found
