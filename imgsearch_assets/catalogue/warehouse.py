"""What is asked of the retailer's table, wherever it lies; of a file, here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import pyarrow as pa

from imgsearch_assets.catalogue import diff
from imgsearch_assets.catalogue.contract import COLUMNS
from imgsearch_assets.catalogue.source import catalogue_stamp, catalogue_version, read_catalogue

T = TypeVar("T")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """``value``, and what it cost, as ``metadata`` of the asset that asked."""

    value: T
    metadata: Mapping[str, int | str] = field(default_factory=dict)


class Warehouse(Protocol):
    """All methods raise ``BadInput`` or ``BadSettings`` naming the mend, ``Unavailable`` for what passes."""

    @property
    def location(self) -> str: ...

    @property
    def resources(self) -> Mapping[str, object]:
        """Of Dagster, by name, for assets that a house adds."""

    def stamp(self) -> str:
        """Changes whenever the table is written; costs no look inside. Equal stamps, equal content."""

    def version(self) -> str:
        """16 hexadecimal digits that differ where the content does."""

    def read(self, columns: Sequence[str]) -> pa.Table:
        """``columns``, of ``COLUMNS``, of every row; never none."""

    def snapshot(self) -> Answer[pa.Table]:
        """``COLUMNS`` of every row as they were at one moment; never none."""

    def difference(self, snapshot: pa.Table, live: pa.Table | None) -> Answer[diff.Difference]:
        """As ``diff.difference``."""


@dataclass(frozen=True)
class FileWarehouse:
    """A file is its own copy: it is read at once, and compared in memory."""

    location: str

    @property
    def resources(self) -> Mapping[str, object]:
        return {}

    def stamp(self) -> str:
        return catalogue_stamp(self.location)

    def version(self) -> str:
        return catalogue_version(self.location)

    def read(self, columns: Sequence[str]) -> pa.Table:
        return read_catalogue(self.location, columns)

    def snapshot(self) -> Answer[pa.Table]:
        return Answer(self.read(COLUMNS))

    def difference(self, snapshot: pa.Table, live: pa.Table | None) -> Answer[diff.Difference]:
        return Answer(diff.difference(snapshot, live))
