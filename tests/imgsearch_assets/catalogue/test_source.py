"""Catalogues of every kind, good and bad."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgsearch_assets.catalogue import source
from imgsearch_assets.catalogue.contract import COLUMNS, PRODUCTS, check_rows
from imgsearch_assets.catalogue.source import (
    catalogue_stamp,
    catalogue_version,
    content_version,
    read_catalogue,
)
from serving.errors import BadInput, Unavailable

ROWS = [
    {
        "product_id": f"p{number}",
        "name": "Shirt, blue",
        "brand": "Acme",
        "category": "shirt",
        "colour": "blue",
        "price": 1999,
        "currency": "EUR",
        "in_stock": True,
        "image_urls": [f"http://shop.example/{number}-{view}.jpg" for view in range(2)],
        "updated_at": None,
    }
    for number in range(3)
]
TABLE = pa.Table.from_pylist(ROWS, schema=pa.schema([*PRODUCTS]))


def write_duckdb(path: Path, table: pa.Table = TABLE, name: str = "products") -> Path:
    with duckdb.connect(str(path)) as connection:
        connection.execute(f'DROP TABLE IF EXISTS "{name}"')
        connection.from_arrow(table).create(f'"{name}"')
    return path


def write_csv(path: Path, *more: str) -> Path:
    lines = [",".join(COLUMNS)]
    for row in ROWS:
        lines.append(
            f'{row["product_id"]},"Shirt, blue",Acme,shirt,blue,1999,EUR,true,{"|".join(row["image_urls"])},'
        )
    path.write_text("\n".join([*lines, *more]) + "\n")
    return path


def test_every_kind_gives_the_same_products(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "c.parquet")
    files = [write_duckdb(tmp_path / "c.duckdb"), tmp_path / "c.parquet", write_csv(tmp_path / "c.csv")]
    for file in files:
        checked = check_rows(read_catalogue(str(file)))
        assert checked.rejected.num_rows == 0
        assert checked.products.equals(TABLE), file


def test_a_table_or_view_can_be_named(tmp_path: Path) -> None:
    file = write_duckdb(tmp_path / "c.duckdb", name="All Garments")
    assert read_catalogue(f"{file}::All Garments").num_rows == 3
    with duckdb.connect(str(file)) as connection:
        connection.execute('CREATE VIEW cheap AS SELECT * FROM "All Garments" LIMIT 1')
    assert read_catalogue(f"{file}::cheap").num_rows == 1


def test_other_columns_are_not_read(tmp_path: Path) -> None:
    file = write_duckdb(tmp_path / "c.duckdb", TABLE.append_column("secret", pa.array([1, 2, 3])))
    assert read_catalogue(str(file)).column_names == list(COLUMNS)


def test_a_malformed_line_of_csv_is_a_rejected_row(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "c.csv", "p9,too,few", "")
    checked = check_rows(read_catalogue(str(file)))
    assert checked.products.num_rows == 3
    assert checked.rejected.to_pylist() == [
        {"row": 4, "product_id": None, "reason": "malformed_row", "detail": "'p9,too,few'"}
    ]


def test_what_is_no_catalogue_is_refused_in_one_sentence(tmp_path: Path) -> None:
    missing = tmp_path / "none.parquet"
    with pytest.raises(BadInput) as refused:
        read_catalogue(str(missing))
    assert str(refused.value) == (
        f"there is no catalogue {missing}; check IMGSEARCH_CATALOGUE or --catalogue"
    )
    with pytest.raises(BadInput, match=r"c\.xlsx is no catalogue: a \.duckdb, \.parquet or \.csv file"):
        read_catalogue(str(tmp_path / "c.xlsx"))
    with pytest.raises(BadInput, match=r"only a \.duckdb file has tables; leave ::t out"):
        read_catalogue(f"{missing}::t")


@pytest.mark.parametrize(
    ("suffix", "kind"), [("parquet", "Parquet"), ("duckdb", "DuckDB"), ("csv", "CSV in UTF-8")]
)
def test_an_unreadable_file_is_named(tmp_path: Path, suffix: str, kind: str) -> None:
    file = tmp_path / f"c.{suffix}"
    file.write_bytes(b"\xff\xfe\x00 this is nothing")
    with pytest.raises(BadInput, match=f"the catalogue {file} cannot be read as {kind}: "):
        read_catalogue(str(file))


def test_missing_columns_are_named(tmp_path: Path) -> None:
    file = write_duckdb(tmp_path / "c.duckdb", TABLE.drop_columns(["price", "colour"]))
    with pytest.raises(BadInput) as refused:
        read_catalogue(str(file))
    assert str(refused.value) == (
        f"the catalogue {file} lacks the columns colour, price; the contract has {', '.join(COLUMNS)}: "
        "rename what is there, or make a view"
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_column_that_is_there_twice_is_named(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"c.{kind}"
    if kind == "csv":
        file.write_text(",".join([*COLUMNS, "name"]) + "\n")
    else:
        pq.write_table(pa.table([pa.array(["x"])] * 11, names=[*COLUMNS, "name"]), file)
    with pytest.raises(BadInput) as refused:
        read_catalogue(str(file))
    assert str(refused.value) == f"the catalogue {file} has name twice; leave one of them out"


def test_a_missing_table_is_named_with_those_there_are(tmp_path: Path) -> None:
    file = write_duckdb(tmp_path / "c.duckdb", name="garments")
    with pytest.raises(BadInput) as refused:
        read_catalogue(str(file))
    assert str(refused.value) == (
        f"the catalogue {file} has no table products, only garments; name one with {file}::TABLE"
    )


def test_an_empty_catalogue_is_refused(tmp_path: Path) -> None:
    pq.write_table(TABLE.slice(0, 0), tmp_path / "c.parquet")
    with pytest.raises(BadInput, match="has no rows; what is live stays as it is"):
        read_catalogue(str(tmp_path / "c.parquet"))


_HOLD = """
import sys, time, duckdb
with duckdb.connect(sys.argv[1]) as connection:
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_a_file_that_is_held_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    file = write_duckdb(tmp_path / "c.duckdb")
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(file), "0.4"], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert read_catalogue(str(file)).num_rows == 3


def test_a_file_that_stays_held_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "HELD_FOR_S", 0.2)
    file = write_duckdb(tmp_path / "c.duckdb")
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(file), "30"], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Unavailable, match=r"is held by another process for more than 0\.2 s; close its"):
            read_catalogue(str(file))
        holder.kill()


def test_the_version_is_of_the_content(tmp_path: Path) -> None:
    file = write_duckdb(tmp_path / "c.duckdb")
    version, stamp = catalogue_version(str(file)), catalogue_stamp(str(file))
    os.utime(file, ns=(1, 1))
    assert catalogue_stamp(str(file)) != stamp
    assert catalogue_version(str(file)) == version

    changed = TABLE.set_column(5, "price", pa.array([1, 2, 3]))
    write_duckdb(file, changed)
    assert catalogue_version(str(file)) != version


def test_the_version_does_not_depend_on_how_a_table_lies_in_memory() -> None:
    parts = pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)])
    assert content_version(parts) == content_version(TABLE)
    assert content_version(TABLE) != content_version(TABLE.slice(1))
