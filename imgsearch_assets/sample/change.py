"""Changes a running demo's catalogue as a shop does: new, dropped and re-photographed products; bad rows."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import duckdb
import numpy as np
import pyarrow as pa
import tenacity
import typer

from imgsearch_assets.sample.catalogue import BAD_ID, PRODUCTS, Sample, open_sample, pictured
from imgsearch_assets.sample.drawing import PACKSHOT_QUALITY, Drawing, draw_product, encode, write_whole
from imgsearch_assets.sample.evaluate import retaken
from imgsearch_assets.sample.photos import PHOTOS_LINK
from imgsearch_assets.sample.products import Product, number_of
from imgsearch_assets.sample.scenes import PACKSHOTS
from serving.errors import ImgsearchError, NotFound, Unavailable
from serving.images.decode import decode

# Whoever reads the catalogue holds its file for moments; this is long enough to get between them.
_LOCK_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Change:
    """What became of the catalogue: product ids."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    new_url: tuple[str, ...]
    same_url: tuple[str, ...]


def change_catalogue(sample: Sample, add: int, remove: int, repicture: int, seed: int) -> Change:
    """Add and remove so many products, and give so many others a new first picture.

    Of the last, every other one keeps its URL and moves ``updated_at`` (a photo's original is never written
    to: there all get a new URL). Raises ``Unavailable`` when the catalogue stays locked for half a minute.
    """
    rng = np.random.default_rng(seed)
    new = _draw_new(sample, add)
    with opened(sample.catalogue) as connection:
        connection.execute("BEGIN")
        rows = pictured(connection)
        chosen = [rows[i] for i in rng.permutation(len(rows))[: remove + repicture]]
        removed = tuple(row[0] for row in chosen[:remove])
        connection.execute("DELETE FROM products WHERE product_id IN (SELECT unnest(?))", [list(removed)])
        new_url: list[str] = []
        same_url: list[str] = []
        for number, (product_id, urls) in enumerate(chosen[remove:]):
            keep = number % 2 == 1 and not _is_photo(sample, urls[0])
            first = _repicture(sample, product_id, urls[0], int(rng.integers(1, 2**31)), keep)
            (same_url if keep else new_url).append(product_id)
            connection.execute(
                "UPDATE products SET image_urls = ?, updated_at = ? WHERE product_id = ?",
                [[first, *urls[1:]], datetime.now(UTC), product_id],
            )
        _insert(connection, new)
        connection.execute("COMMIT")
    return Change(tuple(row["product_id"] for row in new), removed, tuple(new_url), tuple(same_url))


def sell_out(sample: Sample, product_ids: Sequence[str]) -> None:
    """Mark products sold out, and change nothing else. Raises ``NotFound``, and then marks none."""
    ids = list(product_ids)
    with opened(sample.catalogue) as connection:
        there = connection.execute("SELECT product_id FROM products").fetchall()
        if lacking := sorted(set(ids) - {row[0] for row in there}):
            raise NotFound(f"{sample.catalogue} has no product {', '.join(lacking)}")
        connection.execute(
            "UPDATE products SET in_stock = false WHERE product_id IN (SELECT unnest(?))", [ids]
        )


def add_bad_rows(sample: Sample) -> dict[str, str]:
    """Add the rows and files that catalogues of the world have; returns what is wrong by product id.

    The row without an id is under the empty string; the duplicate is under the id that is now there twice.
    """
    hostile = sample.folder / "hostile"
    hostile.mkdir(exist_ok=True)
    write_whole(hostile / "text.jpg", b"This is not a picture, whatever its name says.\n")
    write_whole(hostile / "huge.png", huge_png(20_000, 20_000))
    good = f"{sample.base_url}/hostile"
    with opened(sample.catalogue) as connection:
        twice = (
            connection.sql("SELECT * FROM products ORDER BY product_id LIMIT 1")
            .to_arrow_table()
            .to_pylist()[0]
        )
        wrong = {
            f"{BAD_ID}none": ("no picture", []),
            f"{BAD_ID}url": ("not a URL", ["see our website"]),
            f"{BAD_ID}404": ("404", [f"{good}/missing.jpg"]),
            f"{BAD_ID}text": ("text named .jpg", [f"{good}/text.jpg"]),
            f"{BAD_ID}huge": ("20,000 x 20,000", [f"{good}/huge.png"]),
        }
        now = datetime.now(UTC)
        rows = [
            twice
            | {"product_id": product_id, "name": f"Bad row: {what}", "image_urls": urls, "updated_at": now}
            for product_id, (what, urls) in wrong.items()
        ]
        rows += [twice | {"product_id": None, "name": "Bad row: no id"}, twice | {"name": "Bad row: same id"}]
        _insert(connection, rows)
    return {product_id: what for product_id, (what, _) in wrong.items()} | {
        "": "no id",
        twice["product_id"]: "duplicate id",
    }


def huge_png(width: int, height: int) -> bytes:
    """A valid one-bit black PNG (RFC 2083) of any size, in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    line = bytes(1 + -(-width // 8))  # a filter byte, then eight pixels a byte
    pixels = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _draw_new(sample: Sample, count: int) -> list[dict[str, Any]]:
    """Draw products with numbers never used in this sample; returns their rows."""
    drawing = Drawing(sample.folder, sample.seed)
    drawing.make_folders()
    used = [int(path.stem[1:7]) for path in (sample.folder / "pictures").glob("p*-front.jpg")]
    first = max([*used, sample.products - 1]) + 1
    rows = []
    for number in range(first, first + count):
        draw_product(drawing, number)
        urls = [sample.url_of(drawing.packshot(number, kind)) for kind in PACKSHOTS]
        rows.append(Product.drawn(sample.seed, number).row(urls) | {"updated_at": datetime.now(UTC)})
    return rows


def _repicture(sample: Sample, product_id: str, url: str, take: int, keep_url: bool) -> str:
    """Write a new first picture of the product; returns its URL."""
    file = sample.file_of(url)
    if (number := number_of(product_id)) is None:
        data = retaken(decode(file.read_bytes()), take)
    else:
        data = encode(Product.drawn(sample.seed, number).retake(take).picture, PACKSHOT_QUALITY)
    path = file if keep_url else sample.folder / "pictures" / f"{file.stem}-{take}.jpg"
    write_whole(path, data)
    return url if keep_url else sample.url_of(path)


def _is_photo(sample: Sample, url: str) -> bool:
    return url.startswith(f"{sample.base_url}/{PHOTOS_LINK}/")


def _insert(connection: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.register("new_rows", pa.Table.from_pylist(rows, PRODUCTS))
        connection.execute("INSERT INTO products BY NAME SELECT * FROM new_rows")
        connection.unregister("new_rows")


def opened(catalogue: Path) -> duckdb.DuckDBPyConnection:
    """The catalogue to write to, as soon as nobody else has it open."""
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(duckdb.IOException),
        wait=tenacity.wait_random(0.05, 0.3),
        stop=tenacity.stop_after_delay(_LOCK_TIMEOUT_S),
    )
    try:
        return attempts(duckdb.connect, str(catalogue))
    except tenacity.RetryError as error:
        raise Unavailable(f"{catalogue} stays locked by another process") from error


def main(
    folder: Annotated[Path, typer.Argument(help="The sample's folder, as the demo printed it.")],
    add: Annotated[int, typer.Option(min=0, help="New products.")] = 10,
    remove: Annotated[int, typer.Option(min=0, help="Products to drop.")] = 5,
    repicture: Annotated[int, typer.Option(min=0, help="Products to get a new first picture.")] = 2,
    bad_rows: Annotated[bool, typer.Option(help="Add rows that no shop should have.")] = False,
    seed: Annotated[int, typer.Option(help="Decides which.")] = 0,
    sold_out: Annotated[
        list[str] | None,
        typer.Option(help="Only mark this product sold out; once for each.", show_default=False),
    ] = None,
) -> None:
    """Change a running demo's catalogue; search follows by itself."""
    try:
        sample = open_sample(folder)
        if sold_out:
            sell_out(sample, sold_out)
            typer.echo(f"sold out: {', '.join(sold_out)}")
            return
        change = change_catalogue(sample, add, remove, repicture, seed)
        wrong = add_bad_rows(sample) if bad_rows else {}
    except ImgsearchError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(1) from None
    for what, ids in (("added", change.added), ("removed", change.removed), ("new picture", change.new_url)):
        typer.echo(f"{what}: {', '.join(ids) or 'none'}")
    typer.echo(f"new picture, same URL: {', '.join(change.same_url) or 'none'}")
    for product_id, reason in wrong.items():
        typer.echo(f"bad: {product_id or '(no id)'}: {reason}")


if __name__ == "__main__":
    typer.run(main)
