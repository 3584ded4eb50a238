"""Rows of a table in BigQuery, as Arrow by the Storage Read API."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
from google.api_core.retry import Retry
from google.cloud.bigquery import TableReference
from google.cloud.bigquery_storage_v1 import BigQueryReadClient
from google.cloud.bigquery_storage_v1.types import DataFormat, ReadSession

_STREAMS = 4
# Past it the rows come by REST.
_OPENED_S = 30.0


@dataclass(frozen=True)
class Rows:
    """``table`` in any order, by which API (``by``) it came, and the bytes that Google counts for that."""

    table: pa.Table
    by: str
    read_bytes: int


def read_rows(
    reader: BigQueryReadClient, project: str, table: TableReference, columns: Sequence[str], deadline_s: float
) -> Rows:
    """``columns`` of all rows; ``project`` pays. A stream that breaks goes on where it was.

    Raises as Google's client.
    """
    wanted = ReadSession(
        table=table.to_bqstorage(),
        data_format=DataFormat.ARROW,
        read_options={"selected_fields": list(columns)},
    )
    session = reader.create_read_session(
        parent=f"projects/{project}",
        read_session=wanted,
        max_stream_count=_STREAMS,
        retry=Retry(timeout=min(deadline_s, _OPENED_S)),
        timeout=_OPENED_S,
    )
    schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))

    def batches(stream: str) -> list[pa.RecordBatch]:
        return [
            pa.ipc.read_record_batch(pa.py_buffer(reply.arrow_record_batch.serialized_record_batch), schema)
            for reply in reader.read_rows(stream, timeout=deadline_s)
        ]

    with ThreadPoolExecutor(_STREAMS) as pool:
        parts = list(pool.map(batches, [stream.name for stream in session.streams]))
    found = pa.Table.from_batches([batch for part in parts for batch in part], schema)
    return Rows(found.select(columns), "Storage Read API", session.estimated_total_bytes_scanned)
