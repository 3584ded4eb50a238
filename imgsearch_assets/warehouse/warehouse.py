"""Where the retailer's table lies, and what is asked of it: files on one machine, BigQuery past it.

The location says which: ``bigquery:PROJECT.DATASET.TABLE``, or a file as in ``imgsearch_assets.catalogue``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import pyarrow as pa

from imgsearch_assets import diff
from imgsearch_assets.catalogue import catalogue_stamp, catalogue_version, read_catalogue
from imgsearch_assets.contract import COLUMNS
from imgsearch_assets.warehouse.settings import WarehouseSettings
from serving.errors import BadSettings

T = TypeVar("T")

BIGQUERY = "bigquery:"


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


def open_warehouse(location: str, settings: WarehouseSettings, environment: str) -> Warehouse:
    """Of ``location``. Nothing is asked yet. Raises ``BadSettings`` for a location that cannot be meant."""
    if not location.startswith(BIGQUERY):
        return FileWarehouse(location)
    try:
        from imgsearch_assets.warehouse.bigquery import BigQueryWarehouse
    except ModuleNotFoundError as error:
        raise BadSettings(f"{location} needs {error.name}; install imgsearch[gcp]") from error
    return BigQueryWarehouse.at(location, settings, environment)
