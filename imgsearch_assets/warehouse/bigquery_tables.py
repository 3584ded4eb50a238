"""Names and columns of tables in BigQuery, and the difference of two of them as SQL; no IO."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
from google.cloud.bigquery import SchemaField

from imgsearch_assets.catalogue.contract import COLUMNS, PRODUCTS
from imgsearch_assets.catalogue.diff import Difference
from imgsearch_assets.catalogue.source import demand_columns
from serving.errors import BadInput, BadSettings

# A project of a domain is DOMAIN:PROJECT; a table of a partition or with blanks is none of ours.
_NAME = re.compile(r"(?P<project>(?:[a-z][a-z0-9.-]*:)?[a-z][a-z0-9-]*)\.(?P<dataset>\w+)\.(?P<table>[\w-]+)")
# What columns of the contract may be: what is read as a whole, with no value parsed.
_TEXT = ("STRING", "INTEGER")
_TYPES = dict.fromkeys(COLUMNS, _TEXT) | {
    "price": ("INTEGER",),
    "in_stock": ("BOOLEAN",),
    "image_urls": ("STRING",),
    "updated_at": ("TIMESTAMP", "DATETIME"),
}
_CALLED = {"INTEGER": "INT64", "BOOLEAN": "BOOL", "FLOAT": "FLOAT64"}
_REPEATED = "REPEATED"
# Of tables of ``PRODUCTS``.
SCHEMA = [
    SchemaField(name, _TYPES[name][0], _REPEATED if name == "image_urls" else "NULLABLE") for name in COLUMNS
]


@dataclass(frozen=True)
class TableName:
    project: str
    dataset: str
    table: str

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises ``BadSettings``."""
        found = _NAME.fullmatch(text)
        if found is None:
            raise BadSettings(f"{text} is no table of BigQuery: bigquery:PROJECT.DATASET.TABLE is wanted")
        return cls(**found.groupdict())

    def __str__(self) -> str:
        return f"{self.project}.{self.dataset}.{self.table}"


def check_columns(table: TableName, schema: Sequence[SchemaField]) -> None:
    """Raise ``BadInput`` for a column of the contract that lacks or has another type."""
    there = {field.name: field for field in schema}
    demand_columns(list(there), table)
    wrong = [
        f"{name} is {_type(there[name].field_type, there[name].mode)}, not {' or '.join(_wanted(name))}"
        for name in COLUMNS
        if _type(there[name].field_type, there[name].mode) not in _wanted(name)
    ]
    if wrong:
        raise BadInput(
            f"the catalogue {table} has columns of another type: {'; '.join(wrong)}; cast them in a view"
        )


def _wanted(name: str) -> list[str]:
    return [_type(kind, _REPEATED if name == "image_urls" else "NULLABLE") for kind in _TYPES[name]]


def _type(kind: str, mode: str) -> str:
    kind = _CALLED.get(kind, kind)
    return f"ARRAY<{kind}>" if mode == _REPEATED else kind


def in_order(rows: pa.Table) -> pa.Table:
    """The rows by ``product_id`` and then all other columns, as a table in BigQuery has no order of its own.

    So of two rows with one id the same is refused at each look.
    """
    keys = pa.table(
        {
            name: pc.binary_join(rows[name], " ") if name == "image_urls" else rows[name]
            for name in rows.column_names
        }
    )
    return rows.take(pc.sort_indices(keys, [(name, "ascending") for name in keys.column_names]))


def select_sql(table: TableName, columns: Sequence[str]) -> str:
    return f"SELECT {', '.join(columns)} FROM `{table}`"  # noqa: S608


def copy_sql(source: TableName, copy: TableName, days: int) -> str:
    """The columns of the contract of ``source`` as a table of its own, which expires."""
    return (
        f"CREATE TABLE `{copy}` OPTIONS(expiration_timestamp="
        f"TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {days} DAY)) AS {select_sql(source, COLUMNS)}"
    )


def difference_sql(now: TableName, before: TableName) -> str:
    """``COLUMNS`` of every product that differs in ``now`` and ``before``, with the name of its ``change``.

    Both are of ``PRODUCTS``; what ``diff.difference`` says in words of Arrow.
    """
    urls = "ARRAY_TO_STRING({}.image_urls, '\\n')"
    same_urls = f"{urls.format('now')} = {urls.format('was')}"
    rest = [name for name in COLUMNS if name not in ("product_id", "image_urls", "updated_at")]
    other_rest = " OR ".join(f"now.{name} IS DISTINCT FROM was.{name}" for name in rest)
    columns = ", ".join(f"now.{name} AS {name}" for name in COLUMNS if name != "product_id")
    return f"""
SELECT * FROM (
  SELECT
    CASE
      WHEN was.product_id IS NULL THEN 'new'
      WHEN now.product_id IS NULL THEN 'removed'
      WHEN NOT ({same_urls}) THEN 'repictured'
      WHEN {other_rest} THEN 'reattributed'
      WHEN now.updated_at IS DISTINCT FROM was.updated_at THEN 'touched'
    END AS change,
    now.updated_at IS DISTINCT FROM was.updated_at AS rewritten,
    COALESCE(now.product_id, was.product_id) AS product_id,
    {columns}
  FROM `{now}` AS now
  FULL OUTER JOIN `{before}` AS was ON now.product_id = was.product_id
)
WHERE change IS NOT NULL
""".strip()  # noqa: S608


def told_apart(rows: pa.Table, products: int) -> Difference:
    """The answer to ``difference_sql``, of a snapshot of ``products`` rows."""
    rows = rows.sort_by("product_id")

    def those(change: str, schema: pa.Schema = PRODUCTS) -> pa.Table:
        return rows.filter(pc.equal(rows["change"], pa.scalar(change))).select(schema.names).cast(schema)

    new, repictured, touched, other = map(those, ("new", "repictured", "touched", "reattributed"))
    changed = sum(table.num_rows for table in (new, repictured, touched, other))
    ids = pa.schema([PRODUCTS.field("product_id")])
    before = pc.invert(pc.is_in(rows["change"], pa.array(["new", "removed"])))
    rewritten = rows.filter(pc.and_(rows["rewritten"], before)).select(ids.names).cast(ids)
    removed = those("removed", ids)
    return Difference(new, removed, repictured, touched, other, rewritten, products - changed)
