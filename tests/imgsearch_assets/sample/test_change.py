import subprocess
import sys
import textwrap
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from imgsearch_assets.sample import change as module
from imgsearch_assets.sample.catalogue import Sample, open_sample, photos_sample
from imgsearch_assets.sample.change import add_bad_rows, change_catalogue, huge_png, sell_out
from serving.errors import BadImage, NotFound, Unavailable
from serving.images.decode import inspect

PRODUCTS, PORT = 6, 8123  # of the sample in conftest.py


def rows_of(sample: Sample) -> list[dict[str, Any]]:
    with duckdb.connect(str(sample.catalogue), read_only=True) as connection:
        rows: list[dict[str, Any]] = connection.sql("SELECT * FROM products").to_arrow_table().to_pylist()
        return rows


def test_products_are_added_removed_and_photographed_anew(sample: Sample) -> None:
    before = {row["product_id"]: row for row in rows_of(sample)}
    files = {path: path.read_bytes() for path in (sample.folder / "pictures").iterdir()}
    change = change_catalogue(sample, add=2, remove=1, repicture=3, seed=1)
    after = {row["product_id"]: row for row in rows_of(sample)}
    assert change.added == (f"P{PRODUCTS:06d}", f"P{PRODUCTS + 1:06d}")
    assert set(after) == set(before) - set(change.removed) | set(change.added)
    assert (len(change.removed), len(change.new_url), len(change.same_url)) == (1, 2, 1)
    for product_id in change.added:
        assert all(sample.file_of(url).is_file() for url in after[product_id]["image_urls"])
    for product_id in change.new_url:
        assert after[product_id]["image_urls"][0] != before[product_id]["image_urls"][0]
        assert after[product_id]["image_urls"][1:] == before[product_id]["image_urls"][1:]
        assert inspect(sample.file_of(after[product_id]["image_urls"][0]).read_bytes()).format == "JPEG"
    for product_id in change.same_url:
        assert after[product_id]["image_urls"] == before[product_id]["image_urls"]
        path = sample.file_of(after[product_id]["image_urls"][0])
        assert path.read_bytes() != files[path]
    changed = {*change.new_url, *change.same_url}
    for product_id in set(before) & set(after):
        assert (after[product_id]["updated_at"] > before[product_id]["updated_at"]) == (product_id in changed)
        same = {
            key: value for key, value in after[product_id].items() if key not in ("image_urls", "updated_at")
        }
        assert same.items() <= before[product_id].items()


def test_products_are_sold_out_and_nothing_else_changes(sample: Sample) -> None:
    before = rows_of(sample)
    name = before[0]["product_id"]
    with pytest.raises(NotFound, match=r"catalogue.duckdb has no product P999999$"):
        sell_out(sample, [name, "P999999"])
    assert rows_of(sample) == before
    sell_out(sample, [name])
    assert rows_of(sample) == [
        row | {"in_stock": row["in_stock"] and row["product_id"] != name} for row in before
    ]


def test_added_products_are_new_ones_every_time(sample: Sample) -> None:
    first = change_catalogue(sample, add=1, remove=0, repicture=0, seed=1)
    with duckdb.connect(str(sample.catalogue)) as connection:
        connection.execute("DELETE FROM products WHERE product_id = ?", [first.added[0]])
    second = change_catalogue(sample, add=1, remove=0, repicture=0, seed=1)
    assert first.added != second.added


def test_photos_are_never_written_to(photos: Path, tmp_path: Path) -> None:
    sample = photos_sample(tmp_path / "home", photos, PORT)
    (photos / "shoes" / "broken.jpg").unlink()
    with duckdb.connect(str(sample.catalogue)) as connection:
        connection.execute("DELETE FROM products WHERE product_id = 'shoes/broken'")
    before = {path: path.read_bytes() for path in photos.rglob("*.*") if path.is_file()}
    change = change_catalogue(sample, add=1, remove=1, repicture=2, seed=0)
    assert change.same_url == ()
    assert len(change.new_url) == 2
    assert {path: path.read_bytes() for path in photos.rglob("*.*") if path.is_file()} == before
    again = change_catalogue(sample, add=0, remove=0, repicture=4, seed=0)
    assert again.same_url  # the pictures that are the sample's own may keep their URLs


def test_bad_rows_are_the_ones_the_world_has(sample: Sample) -> None:
    wrong = add_bad_rows(sample)
    rows = rows_of(sample)
    ids = Counter(row["product_id"] for row in rows)
    assert wrong == {
        "BAD-none": "no picture",
        "BAD-url": "not a URL",
        "BAD-404": "404",
        "BAD-text": "text named .jpg",
        "BAD-huge": "20,000 x 20,000",
        "": "no id",
        "P000000": "duplicate id",
    }
    assert ids[None] == 1
    assert ids["P000000"] == 2
    assert len(rows) == PRODUCTS + 7
    files = {row["product_id"]: [sample.file_of(url) for url in row["image_urls"]] for row in rows}
    assert files["BAD-none"] == []
    assert not files["BAD-404"][0].exists()
    with pytest.raises(BadImage) as text:
        inspect(files["BAD-text"][0].read_bytes())
    assert text.value.reason == "not_an_image"
    with pytest.raises(BadImage) as huge:
        inspect(files["BAD-huge"][0].read_bytes())
    assert huge.value.reason == "too_many_pixels"
    assert files["BAD-huge"][0].stat().st_size < 60_000


def test_bad_rows_do_not_stand_in_the_way_of_changes(sample: Sample) -> None:
    add_bad_rows(sample)
    change = change_catalogue(sample, add=0, remove=PRODUCTS, repicture=0, seed=2)
    assert "P000000" not in change.removed  # it is there twice: whose is it?
    assert len(change.removed) == PRODUCTS - 1


def test_a_huge_png_is_a_real_one() -> None:
    header = inspect(huge_png(301, 40))
    assert (header.format, header.width, header.height) == ("PNG", 301, 40)


def hold(catalogue: Path, seconds: float) -> subprocess.Popen[str]:
    """Another process that has the catalogue open for so long; returns once it has."""
    code = f"""
        import duckdb, time
        connection = duckdb.connect({str(catalogue)!r})
        print("open", flush=True)
        time.sleep({seconds})
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_a_change_waits_until_a_reader_is_done(sample: Sample) -> None:
    with hold(sample.catalogue, 0.7):
        started = time.monotonic()
        change = change_catalogue(sample, add=0, remove=1, repicture=0, seed=0)
        assert time.monotonic() - started > 0.3
    assert len(change.removed) == 1


def test_a_catalogue_that_stays_locked_is_an_error(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOCK_TIMEOUT_S", 0.3)
    with hold(sample.catalogue, 60) as process:
        with pytest.raises(Unavailable) as caught:
            change_catalogue(sample, add=0, remove=1, repicture=0, seed=0)
        process.kill()
    assert caught.value.message == f"{sample.catalogue} stays locked by another process"


def test_the_command_says_what_it_did(sample: Sample) -> None:
    command = [sys.executable, "-m", "imgsearch_assets.sample.change", str(sample.folder)]
    options = ["--add", "0", "--remove", "1", "--repicture", "1", "--bad-rows"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "added: none"
    assert lines[1].startswith("removed: P")
    assert "bad: (no id): no id" in lines
    assert len(rows_of(open_sample(sample.folder))) == PRODUCTS - 1 + 7


def test_the_command_without_a_sample_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "imgsearch_assets.sample.change", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"no sample in {tmp_path}; start the demo once\n")


def test_rows_say_when_they_were_changed(sample: Sample) -> None:
    started = datetime.now(UTC)
    change = change_catalogue(sample, add=1, remove=0, repicture=1, seed=4)
    touched = {*change.added, *change.new_url}
    assert all(row["updated_at"] >= started for row in rows_of(sample) if row["product_id"] in touched)
