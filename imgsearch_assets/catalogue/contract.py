"""What a catalogue's rows must hold. A row that does not is a row of ``REJECTED`` with a reason."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from imgsearch_assets.catalogue.columns import (
    Column,
    Mask,
    booleans,
    instants,
    integers,
    mask,
    shown,
    text_lists,
    texts,
)

_PRODUCTS: "list[pa.Field[Any]]" = [
    pa.field("product_id", pa.string(), nullable=False),
    pa.field("name", pa.string(), nullable=False),
    pa.field("brand", pa.string(), nullable=False),
    pa.field("category", pa.string(), nullable=False),
    pa.field("colour", pa.string(), nullable=False),
    pa.field("price", pa.int64(), nullable=False),  # in the currency's smallest unit
    pa.field("currency", pa.string(), nullable=False),
    pa.field("in_stock", pa.bool_(), nullable=False),
    pa.field("image_urls", pa.list_(pa.string()), nullable=False),
    pa.field("updated_at", pa.timestamp("us", "UTC")),
]
PRODUCTS = pa.schema(_PRODUCTS)
COLUMNS = tuple(PRODUCTS.names)
_TEXT = ("name", "brand", "category", "colour")

# ``row`` counts the catalogue's rows from 1, in the order in which they are read.
_REJECTED: "list[pa.Field[Any]]" = [
    pa.field("row", pa.int64(), nullable=False),
    pa.field("product_id", pa.string()),
    pa.field("reason", pa.string(), nullable=False),
    pa.field("detail", pa.string(), nullable=False),
]
REJECTED = pa.schema(_REJECTED)
# In the order in which they are looked for: a row has the first that fits.
REASONS = (
    "malformed_row",
    "missing_id",
    "too_long",
    "duplicate_id",
    "bad_type",
    "bad_price",
    "no_picture",
    "bad_url",
)

# A column that only CSV has: the text of a line that has not as many fields as the header.
MALFORMED = "malformed"

MAX_TEXT_CHARACTERS = 1_000
MAX_ID_CHARACTERS = 200
MAX_URL_CHARACTERS = 2_048
MAX_PICTURES = 50
_URL = r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#\\]+[^\s\\]*$"


@dataclass(frozen=True)
class Checked:
    """``products`` of ``PRODUCTS`` in ascending order of ``product_id``, and ``rejected`` of ``REJECTED``."""

    products: pa.Table
    rejected: pa.Table

    def rejections(self) -> dict[str, int]:
        """Rows by reason, most first."""
        return dict(Counter(map(str, self.rejected["reason"].to_pylist())).most_common())


def check_rows(raw: pa.Table) -> Checked:
    """Hold every row to the contract. ``raw`` has ``COLUMNS`` of any type, and may have ``MALFORMED``."""
    rows = _Rows.of(raw)
    reason = rows.reasons()
    refused = np.flatnonzero(reason < len(REASONS))
    rejected = pa.table(
        [
            pa.array(refused + 1),
            rows.read["product_id"].take(pa.array(refused)),
            pa.array([REASONS[place] for place in reason[refused]], pa.string()),
            pa.array([rows.detail(int(row), REASONS[reason[row]]) for row in refused], pa.string()),
        ],
        schema=REJECTED,
    )
    accepted = pa.array(np.flatnonzero(reason == len(REASONS)))
    columns = [rows.read[name].take(accepted) for name in COLUMNS]
    products = pa.table(
        [pc.fill_null(it, "") if name in _TEXT else it for name, it in zip(COLUMNS, columns, strict=True)],
        names=list(COLUMNS),
    )
    return Checked(products.sort_by("product_id").cast(PRODUCTS), rejected)


@dataclass(frozen=True)
class _Rows:
    """The columns as they were (``raw``) and as they were read; ``bad`` where that was impossible."""

    raw: dict[str, Column]
    read: dict[str, Column]
    bad: dict[str, Mask]

    @classmethod
    def of(cls, table: pa.Table) -> "_Rows":
        raw: dict[str, Column] = {name: table[name].combine_chunks() for name in table.column_names}
        readers = {"price": integers, "in_stock": booleans, "image_urls": text_lists, "updated_at": instants}
        pairs = {name: readers.get(name, texts)(raw[name]) for name in COLUMNS}
        read = {name: values for name, (values, _) in pairs.items()}
        read["product_id"] = pc.utf8_trim_whitespace(read["product_id"])
        return cls(raw, read, {name: bad for name, (_, bad) in pairs.items()})

    def reasons(self) -> NDArray[np.int64]:
        """int64 (rows,): the place of each row's reason in ``REASONS``, past its end for a good row."""
        ids, urls, price = self.read["product_id"], self.read["image_urls"], self.read["price"]
        missing_id = (
            mask(pc.or_kleene(pc.is_null(ids), pc.equal(ids, pa.scalar("")))) & ~self.bad["product_id"]
        )
        found: dict[str, Mask] = {
            "malformed_row": mask(pc.is_valid(self.raw[MALFORMED]))
            if MALFORMED in self.raw
            else np.zeros(len(ids), bool),
            "missing_id": missing_id,
            "too_long": np.logical_or.reduce(list(self._too_long.values())),
            "duplicate_id": (self._first_row < np.arange(len(ids))) & mask(pc.is_valid(ids)) & ~missing_id,
            "bad_type": np.logical_or.reduce(list(self._bad_type.values())),
            "bad_price": self.bad["price"] | mask(pc.is_null(price)) | mask(pc.less(price, pa.scalar(0))),
            "no_picture": _count(urls) == 0,
            "bad_url": _any(urls, lambda url: pc.invert(pc.match_substring_regex(url, _URL)))
            | _any(urls, lambda url: pc.greater(pc.utf8_length(url), pa.scalar(MAX_URL_CHARACTERS))),
        }
        reason = np.full(len(ids), len(REASONS))
        for place in reversed(range(len(REASONS))):
            reason[found[REASONS[place]]] = place
        return reason

    @cached_property
    def _too_long(self) -> dict[str, Mask]:
        limits = dict.fromkeys((*_TEXT, "currency"), MAX_TEXT_CHARACTERS) | {"product_id": MAX_ID_CHARACTERS}
        long = {name: _longer(self.read[name], limit) for name, limit in limits.items()}
        return long | {"image_urls": _count(self.read["image_urls"]) > MAX_PICTURES}

    @cached_property
    def _bad_type(self) -> dict[str, Mask]:
        missing = {name: mask(pc.is_null(self.read[name])) for name in ("currency", "in_stock")}
        return {name: bad | missing.get(name, False) for name, bad in self.bad.items() if name != "price"}

    @cached_property
    def _first_row(self) -> NDArray[np.int64]:
        """int64 (rows,): the first row with the same id."""
        encoded = self.read["product_id"].dictionary_encode(null_encoding="encode")
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        _, first = np.unique(codes, return_index=True)
        return np.asarray(first[codes], np.int64)

    def detail(self, row: int, reason: str) -> str:
        """What about this row is wrong, for the person who has to mend it."""
        match reason:
            case "malformed_row":
                return shown(self.raw[MALFORMED][row])
            case "missing_id":
                return "product_id is empty"
            case "too_long":
                return f"too long: {', '.join(name for name, long in self._too_long.items() if long[row])}"
            case "duplicate_id":
                return f"product_id is that of row {self._first_row[row] + 1}"
            case "bad_type":
                name = next(name for name, bad in self._bad_type.items() if bad[row])
                return f"{name} is {shown(self.raw[name][row])}"
            case "bad_price":
                return f"price is {shown(self.raw['price'][row])}, not an integer of 0 or more"
            case "no_picture":
                return "image_urls is empty"
            case _:
                wrong = next(url for url in self.read["image_urls"][row].as_py() if not _is_url(url))
                said = shown(pa.scalar(wrong, pa.string()))
                return f"{said} is not an http(s) URL of at most {MAX_URL_CHARACTERS} characters"


def _is_url(url: str | None) -> bool:
    return url is not None and len(url) <= MAX_URL_CHARACTERS and re.match(_URL, url) is not None


def _longer(texts: Column, characters: int) -> Mask:
    lengths: Column = pc.utf8_length(texts)
    return mask(pc.greater(lengths, pa.scalar(characters)))


def _count(lists: Column) -> NDArray[np.int32]:
    """int32 (rows,): elements, 0 for null."""
    lengths: Column = pc.list_value_length(lists)
    counts: NDArray[np.int32] = pc.fill_null(lengths, pa.scalar(0, pa.int32())).to_numpy(zero_copy_only=False)
    return counts


def _any(lists: Column, wrong: Callable[[Column], Column]) -> Mask:
    """bool (rows,): an element of the row's list is null or ``wrong``."""
    flat: Column = pc.list_flatten(lists)
    parents: Column = pc.list_parent_indices(lists)
    found = np.zeros(len(lists), bool)
    found[parents.to_numpy(zero_copy_only=False)[mask(pc.fill_null(wrong(flat), True))]] = True
    return found
