"""The retailer's table of products, wherever it lies.

A location is ``FILE.duckdb`` (table ``products``), ``FILE.duckdb::TABLE``, ``FILE.parquet`` or ``FILE.csv``.
In CSV, ``image_urls`` holds URLs separated by ``|`` or blanks. Other columns than ``COLUMNS`` are not read.
"""

import csv
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import tenacity

from imgsearch_assets.catalogue.contract import COLUMNS, MALFORMED
from imgsearch_assets.tables import parquet_bytes
from serving.errors import BadInput, Unavailable

DEFAULT_TABLE = "products"
# Another process may hold a DuckDB file while it writes; a writer that stays longer is reported.
HELD_FOR_S = 10.0
_CSV_FIELD_CHARACTERS = 2**20


def read_catalogue(location: str, columns: Sequence[str] = COLUMNS) -> pa.Table:
    """``columns`` of every row, of ``contract.COLUMNS``, with the types that the file has (CSV: all text).

    Raises ``BadInput`` naming the file or the columns that lack, and the mend; ``Unavailable`` while another
    process holds the file.
    """
    path, table = _parts(location)
    if not path.is_file():
        raise BadInput(f"there is no catalogue {path}; check IMGSEARCH_CATALOGUE or --catalogue")
    rows = _READERS[path.suffix](path, table, columns)
    if rows.num_rows == 0:
        raise BadInput(f"the catalogue {location} has no rows; what is live stays as it is")
    return rows


def catalogue_stamp(location: str) -> str:
    """Changes whenever the file is written; costs no look inside. Equal stamps, equal content."""
    path, _ = _parts(location)
    files = (path, path.with_name(f"{path.name}.wal"))
    return " ".join(f"{it.stat().st_mtime_ns}-{it.stat().st_size}" for it in files if it.is_file())


def catalogue_version(location: str) -> str:
    """16 hexadecimal digits of the hash of the contract's columns. Raises as ``read_catalogue``."""
    return content_version(read_catalogue(location))


def content_version(*tables: pa.Table) -> str:
    """16 hexadecimal digits that equal tables share."""
    digest = hashlib.sha256()
    for table in tables:
        digest.update(parquet_bytes(table.combine_chunks()))
    return digest.hexdigest()[:16]


def _parts(location: str) -> tuple[Path, str]:
    name, _, table = location.partition("::")
    path = Path(name)
    if path.suffix not in _READERS:
        raise BadInput(f"{name} is no catalogue: a .duckdb, .parquet or .csv file is wanted")
    if table and path.suffix != ".duckdb":
        raise BadInput(f"{location}: only a .duckdb file has tables; leave ::{table} out")
    return path, table or DEFAULT_TABLE


def demand_columns(there: Sequence[str], catalogue: object) -> None:
    """Raise ``BadInput`` where ``catalogue`` lacks a column of the contract, or has one twice."""
    lacking = [name for name in COLUMNS if name not in there]
    if lacking:
        raise BadInput(
            f"the catalogue {catalogue} lacks the column{'s' if len(lacking) > 1 else ''} "
            f"{', '.join(lacking)}; the contract has {', '.join(COLUMNS)}: "
            "rename what is there, or make a view"
        )
    twice = [name for name in COLUMNS if there.count(name) > 1]
    if twice:
        raise BadInput(f"the catalogue {catalogue} has {', '.join(twice)} twice; leave one of them out")


def _read_parquet(path: Path, _: str, columns: Sequence[str]) -> pa.Table:
    try:
        file = pq.ParquetFile(path)
        demand_columns(file.schema_arrow.names, path)
        return file.read(list(columns))
    except pa.ArrowException as error:
        raise BadInput(f"the catalogue {path} cannot be read as Parquet: {error}") from error


def _read_csv(path: Path, _: str, columns: Sequence[str]) -> pa.Table:
    """A line with too few or too many fields is a row, too: its text in ``MALFORMED`` and no values."""
    names = [*columns, MALFORMED]
    values: dict[str, list[str | None]] = {name: [] for name in names}
    csv.field_size_limit(_CSV_FIELD_CHARACTERS)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            header = next(lines, [])
            demand_columns(header, path)
            places = [header.index(name) for name in columns]
            for fields in lines:
                if not fields:  # an empty line
                    continue
                whole = len(fields) == len(header)
                for name, place in zip(columns, places, strict=True):
                    values[name].append((fields[place] or None) if whole else None)
                values[MALFORMED].append(None if whole else ",".join(fields))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"the catalogue {path} cannot be read as CSV in UTF-8: {error}") from error
    return pa.table({name: pa.array(values[name], pa.string()) for name in names})


class _Held(Exception):
    """Another process has the file open for writing."""


def _read_duckdb(path: Path, table: str, columns: Sequence[str]) -> pa.Table:
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_Held),
        stop=tenacity.stop_after_delay(HELD_FOR_S),
        wait=tenacity.wait_random_exponential(0.05, max=1),
        reraise=True,
    )
    try:
        rows: pa.Table = retrying(_read_duckdb_once, path, table, columns)
        return rows
    except _Held as error:
        raise Unavailable(
            f"the catalogue {path} is held by another process for more than {HELD_FOR_S:g} s; "
            "close its connection"
        ) from error


def _read_duckdb_once(path: Path, table: str, columns: Sequence[str]) -> pa.Table:
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            there = [
                row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
            ]
            there += [
                row[0]
                for row in connection.execute(
                    "SELECT view_name FROM duckdb_views() WHERE NOT internal"
                ).fetchall()
            ]
            if table not in there:
                raise BadInput(
                    f"the catalogue {path} has no table {table}, only {', '.join(sorted(there)) or 'none'}; "
                    f"name one with {path}::TABLE"
                )
            relation = connection.table(f'"{table}"')
            demand_columns(relation.columns, path)
            rows: pa.Table = relation.select(*columns).to_arrow_table()
            return rows
    except duckdb.IOException as error:
        if "lock" in str(error).lower():
            raise _Held from error
        raise BadInput(f"the catalogue {path} cannot be read as DuckDB: {error}") from error
    except duckdb.Error as error:
        raise BadInput(f"the catalogue {path} cannot be read as DuckDB: {error}") from error


_READERS: dict[str, Callable[[Path, str, Sequence[str]], pa.Table]] = {
    ".duckdb": _read_duckdb,
    ".parquet": _read_parquet,
    ".csv": _read_csv,
}
