"""A generation that can be searched, whatever holds it: this process's memory, or another engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from serving.index.after import After
from serving.index.collapse import Collapse
from serving.index.filters import Filter
from serving.index.store import Failure
from serving.proto import search_pb2


@dataclass(frozen=True, slots=True)
class About:
    """Which generation it is, whose vectors of how many dimensions it holds, and how many of what.

    ``created_at`` is in seconds since 1970.
    """

    generation: str
    embedder: str
    detector: str
    dim: int
    products: int
    rows: int
    created_at: float


class Asked(NamedTuple):
    """A query that was checked: unit rows ``xq`` float32 (n, dim), or a product whose rows they are.

    Such a product is left out of the answer. ``after``: the page behind it; all pages show ``most`` hits.
    """

    xq: NDArray[np.float32] | None
    product_id: str
    k: int
    wanted: Filter | None
    collapse: Collapse
    after: After | None = None
    most: int = 0


class StockState(NamedTuple):
    """``version`` is empty for the stock of when the generation was made.

    ``followed``: it is that of the last seconds.
    """

    version: str
    followed: bool


class Searchable(Protocol):
    """One generation, which never changes but for what is in stock."""

    @property
    def about(self) -> About: ...

    @property
    def quick(self) -> bool:
        """Whether small searches take so little that the event loop makes them."""

    @property
    def stock(self) -> StockState:
        """Which state of the stock searches keep to at least."""

    def search(self, asked: Sequence[Asked]) -> list[bytes]:
        """A ``search_pb2.Result`` for each of ``asked``, encoded.

        Raises ``NotFound`` for a product that is not there.
        """

    def products(self, ids: Sequence[str]) -> list[search_pb2.Product]:
        """Those of ``ids`` that are there, in their order."""

    def explain(self, product_id: str, like: str) -> search_pb2.ExplainReply:
        """What is held of a product; ``like`` is another one, or empty.

        Raises ``NotFound`` for one that is not there.
        """

    def values(self, facet: str) -> list[str]:
        """The values that products have of one of ``filters.FACETS``, in order."""


class Source(Protocol):
    """Where generations come from, one after the other; ``index.holder.Holder`` is one."""

    @property
    def failure(self) -> Failure | None:
        """Why the newest is not served, None when it is."""

    def current(self) -> Searchable:
        """Raises ``Unavailable`` before the first."""

    @property
    def loaded(self) -> Searchable | None:
        """The current one, None before the first."""
