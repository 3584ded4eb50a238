"""What a catalogue's rows must hold. A row that does not is a row of ``REJECTED`` with a reason."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

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

Mask = NDArray[np.bool_]
# An Arrow array; its stubs know fewer of the ways to use one than Arrow does.
Column = Any


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
    rows = raw.num_rows
    column: dict[str, Column] = {name: raw[name].combine_chunks() for name in raw.column_names}
    ids, bad_id = _read(column["product_id"], pa.string(), _is_text, _text)
    ids = pc.utf8_trim_whitespace(ids)
    urls: Column
    urls, bad_urls = _read(column["image_urls"], pa.list_(pa.string()), _is_text_list, _split)
    values: dict[str, Column] = {"product_id": ids, "image_urls": urls}
    bad: dict[str, Mask] = {"product_id": bad_id, "image_urls": bad_urls}
    for name in (*_TEXT, "currency"):
        values[name], bad[name] = _read(column[name], pa.string(), _is_text, _text)
    values["price"], bad_price = _read(column["price"], pa.int64(), _is_integer, _integer)
    values["in_stock"], bad["in_stock"] = _read(column["in_stock"], pa.bool_(), pa.types.is_boolean, _yes_no)
    values["updated_at"], bad["updated_at"] = _read(
        column["updated_at"], PRODUCTS.field("updated_at").type, pa.types.is_timestamp, _instant
    )
    for name in ("currency", "in_stock"):
        bad[name] |= _mask(pc.is_null(values[name]))

    missing_id = _mask(pc.or_kleene(pc.is_null(ids), pc.equal(ids, pa.scalar(""))))
    too_long = {"product_id": _longer(ids, MAX_ID_CHARACTERS), "image_urls": _count(urls) > MAX_PICTURES}
    too_long |= {name: _longer(values[name], MAX_TEXT_CHARACTERS) for name in (*_TEXT, "currency")}
    wrong_urls = _per_row(urls, lambda flat: pc.invert(pc.match_substring_regex(flat, _URL)))
    wrong_urls |= _per_row(urls, lambda flat: pc.greater(pc.utf8_length(flat), pa.scalar(MAX_URL_CHARACTERS)))
    price_missing = _mask(pc.is_null(values["price"]))
    found: dict[str, Mask] = {
        "malformed_row": _mask(pc.is_valid(column[MALFORMED]))
        if MALFORMED in column
        else np.zeros(rows, bool),
        "missing_id": missing_id & ~bad_id,
        "too_long": np.logical_or.reduce(list(too_long.values())),
        "duplicate_id": _repeated(ids) & ~missing_id,
        "bad_type": np.logical_or.reduce(list(bad.values())),
        "bad_price": bad_price | price_missing | _mask(pc.less(values["price"], pa.scalar(0))),
        "no_picture": _count(urls) == 0,
        "bad_url": wrong_urls,
    }
    reason = np.full(rows, len(REASONS))
    for place in reversed(range(len(REASONS))):
        reason[found[REASONS[place]]] = place

    def detail(row: int) -> str:
        match REASONS[reason[row]]:
            case "malformed_row":
                return _shown(column[MALFORMED][row].as_py())
            case "missing_id":
                return "product_id is empty"
            case "too_long":
                names = [name for name, mask in too_long.items() if mask[row]]
                return f"too long: {', '.join(names)}"
            case "duplicate_id":
                return f"product_id is that of row {pc.index(ids, ids[row]).as_py() + 1}"
            case "bad_type":
                name = next(name for name, mask in bad.items() if mask[row])
                return f"{name} is {_shown(column[name][row].as_py())}"
            case "bad_price":
                return f"price is {_shown(column['price'][row].as_py())}, not an integer of 0 or more"
            case "no_picture":
                return "image_urls is empty"
            case _:
                wrong = next(url for url in urls[row].as_py() if not _is_url(url))
                return f"{_shown(wrong)} is not an http(s) URL of at most {MAX_URL_CHARACTERS} characters"

    refused = np.flatnonzero(reason < len(REASONS))
    rejected = pa.table(
        [
            pa.array(refused + 1),
            ids.take(pa.array(refused)),
            pa.array([REASONS[place] for place in reason[refused]], pa.string()),
            pa.array([detail(int(row)) for row in refused], pa.string()),
        ],
        schema=REJECTED,
    )
    for name in _TEXT:
        values[name] = pc.fill_null(values[name], "")
    accepted = pa.array(np.flatnonzero(reason == len(REASONS)))
    products = pa.table([values[name].take(accepted) for name in COLUMNS], names=list(COLUMNS))
    return Checked(products.sort_by("product_id").cast(PRODUCTS), rejected)


def _read(
    column: Column,
    wanted: pa.DataType,
    native: Callable[[pa.DataType], bool],
    parse: Callable[[object], object | None],
) -> tuple[Column, Mask]:
    """``column`` as ``wanted``, null where it cannot be, and where that is.

    A ``native`` column is cast as a whole; of any other, CSV's text above all, each value is parsed.
    """
    if native(column.type):
        return column.cast(wanted, safe=False), np.zeros(len(column), bool)
    read = [None if value is None else parse(value) for value in column.to_pylist()]
    values = pa.array(read, wanted)
    return values, _mask(pc.and_(pc.is_null(values), pc.is_valid(column)))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind))


def _is_text_list(kind: pa.DataType) -> bool:
    return bool((pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _is_text(kind.value_type))


def _is_integer(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) and kind != pa.uint64())


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _split(value: object) -> list[str] | None:
    """One text with several URLs: separated by ``|`` or blanks, neither of which stands in a URL."""
    return [part for part in re.split(r"[|\s]+", value) if part] if isinstance(value, str) else None


def _integer(value: object) -> int | None:
    try:
        number = int(str(value).strip().removesuffix(".0"))
    except ValueError:
        return None
    return number if abs(number) < 2**63 else None


_YES_NO = {
    "true": True,
    "t": True,
    "yes": True,
    "1": True,
    "false": False,
    "f": False,
    "no": False,
    "0": False,
}


def _yes_no(value: object) -> bool | None:
    return _YES_NO.get(str(value).strip().lower())


def _instant(value: object) -> datetime | None:
    """A time, taken for UTC where it does not say."""
    try:
        found = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
    except ValueError:
        return None
    if isinstance(found, date) and not isinstance(found, datetime):
        found = datetime.combine(found, time())
    if not isinstance(found, datetime):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _is_url(url: str | None) -> bool:
    return url is not None and len(url) <= MAX_URL_CHARACTERS and re.match(_URL, url) is not None


def _mask(values: Column) -> Mask:
    """bool (n,), null as False."""
    mask: Mask = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return mask


def _longer(texts: Column, characters: int) -> Mask:
    lengths: Column = pc.utf8_length(texts)
    return _mask(pc.greater(lengths, pa.scalar(characters)))


def _count(lists: Column) -> NDArray[np.int32]:
    """int32 (rows,): elements, 0 for null."""
    lengths: Column = pc.list_value_length(lists)
    counts: NDArray[np.int32] = pc.fill_null(lengths, pa.scalar(0, pa.int32())).to_numpy(zero_copy_only=False)
    return counts


def _per_row(lists: Column, wrong: Callable[[Column], Column]) -> Mask:
    """bool (rows,): an element of the row's list is null or ``wrong``."""
    flat: Column = pc.list_flatten(lists)
    parents: Column = pc.list_parent_indices(lists)
    mask = np.zeros(len(lists), bool)
    mask[parents.to_numpy(zero_copy_only=False)[_mask(pc.fill_null(wrong(flat), True))]] = True
    return mask


def _repeated(ids: Column) -> Mask:
    """bool (rows,): the same id stood in an earlier row."""
    codes = ids.dictionary_encode(null_encoding="encode").indices.to_numpy(zero_copy_only=False)
    _, first = np.unique(codes, return_index=True)
    repeated = np.ones(len(ids), bool)
    repeated[first] = False
    return repeated


def _shown(value: object) -> str:
    """A value for a person to read: short, and with nothing that breaks a line."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
