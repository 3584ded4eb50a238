"""What is known of the stock at one moment, and what changes it; no IO."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

# In stock, sold out, or nothing is known: the generation's own column counts.
IN_STOCK, SOLD_OUT, UNKNOWN = 1, 0, -1
# Changes that are looked up by themselves before they are put among the others.
_LATER = 4_096

# Products to IN_STOCK, SOLD_OUT or UNKNOWN.
Changes = Mapping[str, int]


class News(NamedTuple):
    """What changed up to ``version``."""

    version: str
    changes: Changes


class Known:
    """The stock at ``version``. Of one thread at a time."""

    def __init__(self, version: str, products: Changes) -> None:
        self.version = version
        self._ids = pa.array(list(products), pa.string())
        self._values = np.fromiter(products.values(), np.int8, len(products))
        self._later: dict[str, int] = {}

    def values(self, ids: Any) -> NDArray[np.int8]:
        """int8 (n,): ``IN_STOCK``, ``SOLD_OUT`` or ``UNKNOWN`` of each of ``ids``, an Arrow array of text."""
        found = _looked_up(ids, self._ids, self._values)
        if self._later:
            later = np.fromiter(self._later.values(), np.int8, len(self._later))
            places = pc.index_in(ids, value_set=pa.array(list(self._later), pa.string()))
            changed = places.is_valid().to_numpy(zero_copy_only=False)
            found[changed] = later[places.drop_null().to_numpy()]
        return found

    def take(self, news: News) -> None:
        self.version = news.version
        self._later |= news.changes
        if len(self._later) > _LATER:
            self._ids, self._values = self.all()
            self._later = {}

    def all(self) -> tuple[Any, NDArray[np.int8]]:
        """Every product of which something is known, as Arrow's text, and its value, int8 (n,)."""
        if not self._later:
            return self._ids, self._values
        told = pa.array(list(self._later), pa.string())
        rest = ~pc.is_in(self._ids, value_set=told).to_numpy(zero_copy_only=False)
        ids = pa.concat_arrays([self._ids.filter(pa.array(rest)), told])
        later = np.fromiter(self._later.values(), np.int8, len(self._later))
        values = np.concatenate([self._values[rest], later])
        known = values != UNKNOWN
        return ids.filter(pa.array(known)), values[known]


def _looked_up(ids: Any, known: Any, values: NDArray[np.int8]) -> NDArray[np.int8]:
    found = np.full(len(ids), UNKNOWN, np.int8)
    places = pc.index_in(ids, value_set=known)
    there = places.is_valid().to_numpy(zero_copy_only=False)
    found[there] = values[places.drop_null().to_numpy()]
    return found
