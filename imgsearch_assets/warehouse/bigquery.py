"""The retailer's table in BigQuery.

Looking costs nothing (metadata), a copy nothing (a table snapshot), reading is the Storage Read API, and only
the difference, and the copy of a view, are queries that bill bytes.
"""

import hashlib
import io
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Self

import pyarrow as pa
from google.api_core import exceptions
from google.cloud import bigquery
from google.cloud.bigquery.retry import DEFAULT_RETRY
from google.cloud.bigquery_storage_v1 import BigQueryReadClient

from imgsearch_assets.catalogue import diff
from imgsearch_assets.catalogue.contract import COLUMNS, PRODUCTS
from imgsearch_assets.catalogue.source import content_version
from imgsearch_assets.catalogue.warehouse import Answer
from imgsearch_assets.tables import parquet_bytes
from imgsearch_assets.warehouse.bigquery_client import BigQueryClients
from imgsearch_assets.warehouse.bigquery_rows import Rows, read_rows
from imgsearch_assets.warehouse.bigquery_tables import (
    SCHEMA,
    TableName,
    check_columns,
    copy_sql,
    difference_sql,
    in_order,
    select_sql,
    told_apart,
)
from imgsearch_assets.warehouse.google_errors import told
from imgsearch_assets.warehouse.settings import BIGQUERY, WarehouseSettings
from serving.errors import BadInput, BadSettings

log = logging.getLogger(__name__)

# Of a look at metadata, with its retries: a sensor's tick has a minute.
_LOOK_S = 20.0
_CALL_S = 10.0
_READ = "roles/bigquery.dataViewer on the catalogue's dataset"
_WORK = (
    "roles/bigquery.jobUser and roles/bigquery.readSessionUser on the project, and roles/bigquery.dataEditor "
    "on IMGSEARCH_BIGQUERY_WORK_DATASET"
)
# With these the Storage Read API says that it is not for us: the rows come by REST then.
_NO_READER = (
    exceptions.Forbidden,
    exceptions.MethodNotImplemented,
    exceptions.ServiceUnavailable,
    exceptions.RetryError,
)
_TABLE = "TABLE"
_VIEW = "VIEW"


@dataclass(frozen=True)
class BigQueryWarehouse:
    """``table``, as ``Warehouse`` asks. Thread-safe as far as Google's client is."""

    table: TableName
    settings: WarehouseSettings
    environment: str

    @classmethod
    def at(cls, location: str, settings: WarehouseSettings, environment: str) -> Self:
        """Raises ``BadSettings``."""
        return cls(TableName.read(location.removeprefix(BIGQUERY)), settings, environment)

    @property
    def location(self) -> str:
        return f"{BIGQUERY}{self.table}"

    @property
    def resources(self) -> Mapping[str, object]:
        return {"bigquery": self.clients}

    @property
    def clients(self) -> BigQueryClients:
        endpoint = self.settings.bigquery_endpoint
        return BigQueryClients(
            project=self.settings.bigquery_project or self.table.project,
            endpoint=None if endpoint is None else str(endpoint).rstrip("/"),
            storage_endpoint=self.settings.bigquery_storage_endpoint,
        )

    def stamp(self) -> str:
        return " ".join(_marker(table) for table in self._watched())

    def version(self) -> str:
        """Of the stamp: a table that was written with what it held is another version, too."""
        check_columns(self.table, self._look(self.table).schema)
        return hashlib.sha256(self.stamp().encode()).hexdigest()[:16]

    def read(self, columns: Sequence[str]) -> pa.Table:
        source = self._checked()
        with self._told("reading the catalogue", f"{_READ}; {_WORK}"):
            if source.table_type == _TABLE:
                rows = self._rows(source, columns)
            else:
                rows = self._answer(self._query(select_sql(self.table, columns), "stock"), columns)
        return self._some(rows.table)

    def snapshot(self) -> Answer[pa.Table]:
        source = self._checked()
        copy = self._work_table(f"catalogue_{datetime.now(UTC):%Y%m%dT%H%M%S}_{uuid.uuid4().hex[:8]}")
        with self._told("copying the catalogue", f"{_READ}; {_WORK}"):
            if source.table_type == _TABLE:
                billed = self._clone(copy)
            else:
                sql = copy_sql(self.table, copy, self.settings.bigquery_copy_days)
                billed = self._query(sql, "snapshot").total_bytes_billed or 0
        with self._told("reading the copy of the catalogue", _WORK):
            copied = self._client.get_table(str(copy), retry=self._retry, timeout=_CALL_S)
            rows = self._rows(copied, COLUMNS)
        return Answer(
            in_order(self._some(rows.table)),
            {"copy": str(copy), "read_by": rows.by, "read_bytes": rows.read_bytes, "bytes_billed": billed},
        )

    def difference(self, snapshot: pa.Table, live: pa.Table | None) -> Answer[diff.Difference]:
        """By SQL, on tables of what was checked and of what is live; both are named by their content."""
        if live is None or live.num_rows == 0 or snapshot.num_rows == 0:
            return Answer(diff.difference(snapshot, live), {"bytes_billed": 0})
        with self._told("comparing the catalogue with what is live", _WORK):
            job = self._query(difference_sql(self._kept(snapshot), self._kept(live)), "difference")
            rows = self._answer(job, ("change", "rewritten", *COLUMNS))
        metadata = {"read_by": rows.by, "bytes_billed": job.total_bytes_billed or 0, "job": job.job_id}
        return Answer(told_apart(rows.table, snapshot.num_rows), metadata)

    @cached_property
    def _client(self) -> bigquery.Client:
        return self.clients.client()

    @cached_property
    def _reader(self) -> BigQueryReadClient | None:
        return self.clients.reader()

    @property
    def _retry(self) -> Any:
        return DEFAULT_RETRY.with_timeout(self.settings.bigquery_deadline_s)

    def _told(self, doing: str, rights: str) -> Any:
        return told(f"{doing} {self.table}", rights)

    def _look(self, table: TableName) -> bigquery.Table:
        with told(f"looking at {table}", _READ):
            retry = DEFAULT_RETRY.with_timeout(_LOOK_S)
            return self._client.get_table(str(table), retry=retry, timeout=_CALL_S)

    def _watched(self) -> list[bigquery.Table]:
        """The table and, of a view, those behind it."""
        source = self._look(self.table)
        names = (self.settings.bigquery_changes or "").split(",")
        behind = [self._look(TableName.read(name)) for name in names if name]
        if source.table_type == _VIEW and not behind:
            raise BadSettings(
                f"the catalogue {self.table} is a view, and a view's metadata do not say when its rows "
                "change; name the tables behind it in IMGSEARCH_BIGQUERY_CHANGES"
            )
        return [source, *behind]

    def _checked(self) -> bigquery.Table:
        source = self._look(self.table)
        check_columns(self.table, source.schema)
        return source

    def _some(self, rows: pa.Table) -> pa.Table:
        if rows.num_rows == 0:
            raise BadInput(f"the catalogue {self.location} has no rows; what is live stays as it is")
        return rows

    def _work_table(self, name: str) -> TableName:
        return TableName(self._client.project, self.settings.bigquery_work_dataset, name)

    def _labels(self, step: str) -> dict[str, str]:
        return {"app": "imgsearch", "step": step, "environment": self.environment}

    def _clone(self, copy: TableName) -> int:
        """A table snapshot, which copies and bills nothing."""
        config = bigquery.CopyJobConfig(
            operation_type=bigquery.job.OperationType.SNAPSHOT,
            write_disposition=bigquery.WriteDisposition.WRITE_EMPTY,
            destination_expiration_time=self._expiry.isoformat(),
            labels=self._labels("snapshot"),
        )
        job = self._client.copy_table(
            str(self.table),
            str(copy),
            job_config=config,
            job_id_prefix="imgsearch-snapshot-",
            retry=self._retry,
            timeout=_CALL_S,
        )
        job.result(retry=self._retry, timeout=self.settings.bigquery_deadline_s)
        return 0

    @property
    def _expiry(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=self.settings.bigquery_copy_days)

    def _query(self, sql: str, step: str) -> bigquery.QueryJob:
        """Done, or cancelled at the deadline."""
        deadline_s = self.settings.bigquery_deadline_s
        config = bigquery.QueryJobConfig(
            maximum_bytes_billed=self.settings.bigquery_max_bytes_billed,
            job_timeout_ms=int(deadline_s * 1000),
            labels=self._labels(step),
        )
        job = self._client.query(
            sql,
            job_config=config,
            job_id_prefix=f"imgsearch-{step}-",
            retry=self._retry,
            timeout=_CALL_S,
        )
        job.result(retry=self._retry, timeout=deadline_s)
        return job

    def _kept(self, products: pa.Table) -> TableName:
        """A table of ``products`` (``PRODUCTS``) in the work dataset, which may be there already."""
        products = products.select(COLUMNS).cast(PRODUCTS)
        name = self._work_table(f"products_{content_version(products)}")
        try:
            table = self._client.get_table(str(name), retry=self._retry, timeout=_CALL_S)
        except exceptions.NotFound:
            table = None
        if table is None or table.num_rows != products.num_rows:
            self._load(products, name)
            table = self._client.get_table(str(name), retry=self._retry, timeout=_CALL_S)
        table.expires = self._expiry
        self._client.update_table(table, ["expires"], retry=self._retry, timeout=_CALL_S)
        return name

    def _load(self, products: pa.Table, name: TableName) -> None:
        """By a load job, which bills nothing and is there whole or not at all."""
        parquet = bigquery.ParquetOptions()
        parquet.enable_list_inference = True
        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            parquet_options=parquet,
            schema=SCHEMA,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
            labels=self._labels("load"),
        )
        data = parquet_bytes(products)
        job = self._client.load_table_from_file(
            io.BytesIO(data),
            str(name),
            size=len(data),
            num_retries=3,
            job_id_prefix="imgsearch-load-",
            job_config=config,
            timeout=self.settings.bigquery_deadline_s,
        )
        job.result(retry=self._retry, timeout=self.settings.bigquery_deadline_s)

    def _rows(self, table: bigquery.Table, columns: Sequence[str]) -> Rows:
        deadline_s = self.settings.bigquery_deadline_s
        if self._reader is not None:
            try:
                return read_rows(self._reader, self._client.project, table.reference, columns, deadline_s)
            except _NO_READER as error:
                log.warning("the Storage Read API gives no rows, they come by REST, more slowly: %s", error)
        fields = [field for field in table.schema if field.name in columns]
        found = self._client.list_rows(table, selected_fields=fields, retry=self._retry, timeout=deadline_s)
        rows = found.to_arrow(create_bqstorage_client=False, timeout=deadline_s)
        return Rows(rows.select(columns), "REST", 0)

    def _answer(self, job: bigquery.QueryJob, columns: Sequence[str]) -> Rows:
        """What a query found, from the table that Google keeps it in for a day."""
        table = self._client.get_table(job.destination, retry=self._retry, timeout=_CALL_S)
        return self._rows(table, columns)


def _marker(table: bigquery.Table) -> str:
    """What of a table's metadata changes when it is written; rows that stream in are counted apart."""
    stream = table.streaming_buffer
    parts = (table.etag, table.modified, table.num_rows, table.num_bytes, stream and stream.estimated_rows)
    return "-".join("" if part is None else str(part).replace(" ", "T") for part in parts)
