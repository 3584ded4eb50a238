"""A filter as Milvus's boolean expression.

No text of a caller ever comes into one: values of facets are asked for by their number in the list of the
generation's values, products by a number made of their id. Integers cannot be mistaken for anything else.
"""

import hashlib
from collections.abc import Iterable, Mapping

from serving.index.filters import FACETS, Filter

# Milvus reads a negative number as a minus and a number, and the least int64 has no such number.
_LEAST = -(2**63) + 1

# By facet: the number of each of its values.
Codes = Mapping[str, Mapping[str, int]]


def product_key(product_id: str) -> int:
    """A number of 63 bits for an id.

    That two products share one is too unlikely to be looked for where products are excluded; where one is
    named, ids are compared, too.
    """
    digest = hashlib.blake2b(product_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def expression(wanted: Filter | None, codes: Codes) -> str | None:
    """What ``wanted`` keeps: empty for everything, None where nothing can fit."""
    if wanted is None:
        return ""
    parts = []
    for facet in FACETS:
        names = getattr(wanted, facet)
        if not names:
            continue
        known = [codes[facet][name] for name in names if name in codes[facet]]
        if not known:
            return None
        parts.append(one_of(f"{facet}_code", known))
    if wanted.price_min is not None:
        parts.append(f"price >= {max(int(wanted.price_min), _LEAST)}")
    if wanted.price_max is not None:
        parts.append(f"price <= {max(int(wanted.price_max), _LEAST)}")
    if wanted.in_stock_only:
        parts.append("in_stock == true")
    if wanted.excluded:
        parts.append(none_of("product_key", map(product_key, wanted.excluded)))
    return both(*parts)


def one_of(field: str, numbers: Iterable[int]) -> str:
    return f"{field} in {sorted(map(int, numbers))}"


def none_of(field: str, numbers: Iterable[int]) -> str:
    return f"{field} not in {sorted(map(int, numbers))}"


def both(*parts: str) -> str:
    """All of ``parts``, of which empty ones ask for nothing."""
    return " and ".join(part for part in parts if part)
