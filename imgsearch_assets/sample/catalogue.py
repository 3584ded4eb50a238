"""The sample catalogue: a DuckDB table as a shop has one, its pictures, and queries with their answers."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from imgsearch_assets.sample.drawing import GENERATOR, TRUTH, Drawing, draw, write_whole
from imgsearch_assets.sample.photos import PHOTOS_LINK, photo_files, photo_rows
from imgsearch_assets.sample.products import Product
from imgsearch_assets.sample.scenes import PACKSHOTS
from serving.errors import NotFound
from serving.images.box import Box

_COLUMNS: dict[str, pa.DataType] = {
    "product_id": pa.string(),
    "name": pa.string(),
    "brand": pa.string(),
    "category": pa.string(),
    "colour": pa.string(),
    "price": pa.int64(),
    "currency": pa.string(),
    "in_stock": pa.bool_(),
    "image_urls": pa.list_(pa.string()),
    "updated_at": pa.timestamp("us", tz="UTC"),
}
PRODUCTS = pa.schema(_COLUMNS)
_TRUTH = pa.schema([(name, pa.string()) for name in TRUTH])
# Product ids of rows that are wrong on purpose start so.
BAD_ID = "BAD-"
_SAMPLE = "sample.json"


@dataclass(frozen=True)
class StreetQuery:
    """A picture a shopper might send, the product that has to be found, and where it is on the picture."""

    path: Path
    product_id: str
    category: str
    box: Box


@dataclass(frozen=True)
class Sample:
    """A catalogue with its pictures; ``folder`` is what the picture server serves."""

    folder: Path
    catalogue: Path
    products: int
    pictures: int
    queries: list[StreetQuery]
    port: int
    seed: int

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url_of(self, path: Path) -> str:
        """Where the server has the file ``path`` of this sample."""
        return f"{self.base_url}/{quote(path.relative_to(self.folder).as_posix())}"

    def file_of(self, url: str) -> Path:
        """The file behind one of the sample's URLs."""
        return self.folder / unquote(urlsplit(url).path).lstrip("/")


def generate_sample(folder: Path, products: int, seed: int, port: int) -> Sample:
    """A drawn catalogue of ``products`` products below ``folder``, with pictures at ``port`` of this machine.

    What is there already is reused, and said so; what an interrupted run left is completed.
    """
    folder = folder.absolute() / "drawn"
    asked = {"products": products, "seed": seed, "generator": GENERATOR}
    if (sample := _reused(folder, asked, port)) is not None:
        return sample
    folder.mkdir(parents=True, exist_ok=True)
    drawing = Drawing(folder, seed)
    truth = draw(drawing, products)
    base = f"http://127.0.0.1:{port}/pictures"
    rows = [
        Product.drawn(seed, n).row([f"{base}/{drawing.packshot(n, kind).name}" for kind in PACKSHOTS])
        for n in range(products)
    ]
    return _written(folder, asked, rows, truth, port)


def photos_sample(folder: Path, photos: Path, port: int) -> Sample:
    """A catalogue of the pictures in ``photos``: a sub-folder is a category, a photo a product.

    Raises ``NotFound`` when there are none.
    """
    folder = folder.absolute() / "photos"
    photos = photos.resolve()
    files = photo_files(photos)
    asked = {
        "photos": str(photos),
        "files": [file.relative_to(photos).as_posix() for file in files],
        "seed": 0,
    }
    if (sample := _reused(folder, asked, port)) is not None:
        return sample
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / PHOTOS_LINK
    link.unlink(missing_ok=True)
    link.symlink_to(photos, target_is_directory=True)
    rows = photo_rows(photos, files, f"http://127.0.0.1:{port}/{PHOTOS_LINK}")
    return _written(folder, asked, rows, [], port)


def open_sample(folder: Path) -> Sample:
    """The finished sample in ``folder``. Raises ``NotFound`` when there is none."""
    folder = folder.absolute()
    if not (folder / _SAMPLE).exists():
        raise NotFound(f"no sample in {folder}; start the demo once")
    said = json.loads((folder / _SAMPLE).read_text())
    queries = [
        StreetQuery(folder / row["file"], row["product_id"], row["category"], Box.from_key(row["box"]))
        for row in pq.read_table(folder / "truth.parquet").to_pylist()
    ]
    counts = (said["products"], said["pictures"])
    return Sample(folder, folder / "catalogue.duckdb", *counts, queries, said["port"], said["asked"]["seed"])


def pictured(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, list[str]]]:
    """The products of a sample that have pictures, with their URLs: rows put there as bad ones left out."""
    rows: list[tuple[str, list[str]]] = connection.execute(
        "SELECT product_id, image_urls FROM products WHERE product_id NOT LIKE ? "
        "QUALIFY count(*) OVER (PARTITION BY product_id) = 1 ORDER BY product_id",
        [f"{BAD_ID}%"],
    ).fetchall()
    return rows


def _reused(folder: Path, asked: dict[str, Any], port: int) -> Sample | None:
    """The sample that is there, if it is what is asked for, with its pictures at ``port``."""
    if not (folder / _SAMPLE).exists() or json.loads((folder / _SAMPLE).read_text())["asked"] != asked:
        return None
    sample = open_sample(folder)
    if sample.port != port:
        moved = "list_transform(image_urls, lambda url: replace(url, ?, ?))"
        with duckdb.connect(str(sample.catalogue)) as connection:
            connection.execute(
                f"UPDATE products SET image_urls = {moved}",  # noqa: S608 - a constant
                [f"{sample.base_url}/", f"http://127.0.0.1:{port}/"],
            )
        sample = replace(sample, port=port)
        _describe(sample, asked)
    print(f"reusing the sample in {folder}: {sample.products:,} products", file=sys.stderr, flush=True)
    return sample


def _written(
    folder: Path, asked: dict[str, Any], rows: list[dict[str, Any]], truth: list[dict[str, Any]], port: int
) -> Sample:
    """Write the tables, and last of all the description, without which there is no sample."""
    (folder / _SAMPLE).unlink(missing_ok=True)
    catalogue = folder / "catalogue.duckdb"
    for leftover in (catalogue, catalogue.with_name(f"{catalogue.name}.wal")):
        leftover.unlink(missing_ok=True)
    table = pa.Table.from_pylist(rows, PRODUCTS)
    with duckdb.connect(str(catalogue)) as connection:
        connection.register("rows", table)
        # No constraints: a shop's table has its bad rows, and the pipeline has to find them.
        connection.execute("CREATE TABLE products AS SELECT * FROM rows")
    pq.write_table(pa.Table.from_pylist(truth, _TRUTH), folder / "truth.parquet")
    pictures = sum(len(row["image_urls"]) for row in rows)
    _describe(Sample(folder, catalogue, len(rows), pictures, [], port, asked["seed"]), asked)
    return open_sample(folder)


def _describe(sample: Sample, asked: dict[str, Any]) -> None:
    said = {"asked": asked, "products": sample.products, "pictures": sample.pictures, "port": sample.port}
    write_whole(sample.folder / _SAMPLE, json.dumps(said, indent=1).encode())
