"""Places in which a catalogue can lie, each written by its own means."""

import io
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from imgsearch_assets.catalogue.warehouse import FileWarehouse, Warehouse
from imgsearch_assets.warehouse.bigquery import BigQueryWarehouse
from imgsearch_assets.warehouse.bigquery_tables import SCHEMA
from imgsearch_assets.warehouse.location import open_warehouse
from imgsearch_assets.warehouse.settings import WarehouseSettings
from tests.bigquery_process import PROJECT, Emulator, Gate, emulator, gate


class Place(Protocol):
    """A catalogue that can be written."""

    @property
    def named(self) -> str:
        """As errors name it."""

    def write(self, rows: pa.Table) -> None: ...

    def warehouse(self) -> Warehouse: ...


@dataclass
class ParquetPlace:
    path: Path

    @property
    def named(self) -> str:
        return str(self.path)

    def write(self, rows: pa.Table) -> None:
        pq.write_table(rows, self.path)

    def warehouse(self) -> Warehouse:
        return FileWarehouse(str(self.path))


class DuckDBPlace(ParquetPlace):
    def write(self, rows: pa.Table) -> None:
        with duckdb.connect(str(self.path)) as connection:
            connection.execute("DROP TABLE IF EXISTS products")
            connection.from_arrow(rows).create("products")


@dataclass
class BigQueryPlace:
    """Datasets of its own, behind a gate."""

    emulator: Emulator
    gate: Gate
    dataset: str = field(default_factory=lambda: f"retail_{uuid.uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        self.client = bigquery.Client(
            PROJECT, AnonymousCredentials(), client_options={"api_endpoint": self.emulator.rest}
        )
        for name in (self.dataset, self.work):
            self.client.create_dataset(name)

    @property
    def work(self) -> str:
        return f"work_{self.dataset}"

    @property
    def table(self) -> str:
        return f"{PROJECT}.{self.dataset}.products"

    @property
    def named(self) -> str:
        return self.table

    def write(self, rows: pa.Table) -> None:
        """A load, which replaces what was there."""
        data = io.BytesIO()
        pq.write_table(rows, data)
        parquet = bigquery.ParquetOptions()
        parquet.enable_list_inference = True
        config = bigquery.LoadJobConfig(
            source_format="PARQUET",
            parquet_options=parquet,
            schema=[it for it in SCHEMA if it.name in rows.column_names],
            write_disposition="WRITE_TRUNCATE",
        )
        size = data.tell()
        self.client.load_table_from_file(data, self.table, rewind=True, size=size, job_config=config).result()

    def settings(self, **more: Any) -> WarehouseSettings:
        return WarehouseSettings(
            **{
                "bigquery_endpoint": self.gate.url,
                "bigquery_storage_endpoint": self.emulator.storage,
                "bigquery_work_dataset": self.work,
                "bigquery_deadline_s": 30,
                **more,
            }
        )

    def warehouse(self, table: str | None = None, **more: Any) -> BigQueryWarehouse:
        found = open_warehouse(f"bigquery:{table or self.table}", self.settings(**more), "staging")
        assert isinstance(found, BigQueryWarehouse)
        return found

    def work_tables(self) -> list[bigquery.Table]:
        return [self.client.get_table(it) for it in self.client.list_tables(self.work)]


@pytest.fixture(scope="session")
def bigquery_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with emulator(tmp_path_factory.mktemp("bigquery")) as found:
        yield found


@pytest.fixture
def bigquery_place(bigquery_emulator: Emulator) -> Iterator[BigQueryPlace]:
    with gate(bigquery_emulator.rest) as before:
        place = BigQueryPlace(bigquery_emulator, before)
        yield place
        place.client.close()


@pytest.fixture(params=["parquet", "duckdb", "bigquery"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "bigquery":
        found: BigQueryPlace = request.getfixturevalue("bigquery_place")
        return found
    kinds = {"parquet": ParquetPlace, "duckdb": DuckDBPlace}
    return kinds[request.param](tmp_path / f"c.{request.param}")
