from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
import pytest

from imgsearch_assets.sample import catalogue as module
from imgsearch_assets.sample.catalogue import Sample, generate_sample, open_sample, photos_sample
from serving.errors import NotFound
from serving.images.decode import inspect

PRODUCTS, SEED, PORT = 6, 5, 8123  # of the sample in conftest.py


def table_of(sample: Sample) -> pa.Table:
    with duckdb.connect(str(sample.catalogue), read_only=True) as connection:
        return connection.sql("SELECT * FROM products ORDER BY product_id").to_arrow_table()


def test_a_sample_is_a_table_and_its_pictures(drawn: Sample) -> None:
    table = table_of(drawn)
    assert table.column_names == module.PRODUCTS.names
    assert table.schema.field("updated_at").type.tz is not None
    assert (drawn.products, drawn.pictures) == (PRODUCTS, 3 * PRODUCTS) == (table.num_rows, 18)
    for row in table.to_pylist():
        assert len(row["image_urls"]) == 3
        for url in row["image_urls"]:
            assert urlsplit(url).netloc == f"127.0.0.1:{PORT}"
            header = inspect(drawn.file_of(url).read_bytes())
            assert (header.format, header.width, header.height) == ("JPEG", 600, 720)
            assert drawn.url_of(drawn.file_of(url)) == url


def test_street_pictures_have_their_truth(drawn: Sample) -> None:
    rows = {row["product_id"]: row for row in table_of(drawn).to_pylist()}
    assert len(drawn.queries) == PRODUCTS
    for query in drawn.queries:
        assert query.path.parent == drawn.folder / "street"
        assert query.category == rows[query.product_id]["category"]
        assert query.box.area > 0
        assert inspect(query.path.read_bytes()).format == "JPEG"


def test_a_second_start_reuses_it_and_says_so(sample: Sample, capsys: pytest.CaptureFixture[str]) -> None:
    with duckdb.connect(str(sample.catalogue)) as connection:
        connection.execute("DELETE FROM products WHERE product_id = 'P000001'")
    again = generate_sample(sample.folder.parent, PRODUCTS, SEED, PORT)
    assert again == sample
    assert table_of(again).num_rows == PRODUCTS - 1  # what a shop changed stays changed
    assert capsys.readouterr().err == f"reusing the sample in {sample.folder}: {PRODUCTS} products\n"


def test_another_port_moves_the_urls(sample: Sample) -> None:
    moved = generate_sample(sample.folder.parent, PRODUCTS, SEED, 9000)
    assert moved.port == open_sample(sample.folder).port == 9000
    urls = [url for row in table_of(moved).to_pylist() for url in row["image_urls"]]
    assert {urlsplit(url).netloc for url in urls} == {"127.0.0.1:9000"}
    assert all(moved.file_of(url).is_file() for url in urls)


def test_an_unfinished_sample_is_no_sample(sample: Sample) -> None:
    (sample.folder / "sample.json").unlink()
    with pytest.raises(NotFound, match=r"^no sample in .*/drawn; start the demo once$"):
        open_sample(sample.folder)
    completed = generate_sample(sample.folder.parent, PRODUCTS, SEED, PORT)
    assert completed == sample


def test_more_products_leave_the_first_ones_as_they_are(sample: Sample) -> None:
    before = table_of(sample).to_pylist()
    more = generate_sample(sample.folder.parent, PRODUCTS + 1, SEED, PORT)
    assert table_of(more).to_pylist()[:PRODUCTS] == before


def test_a_folder_of_photos_becomes_a_catalogue(photos: Path, tmp_path: Path) -> None:
    sample = photos_sample(tmp_path / "home", photos, PORT)
    rows = {row["product_id"]: row for row in table_of(sample).to_pylist()}
    assert set(rows) == {"dress/one.jpg", "dress/one.png", "dress/été 2", "shoes/a b", "shoes/broken"}
    assert rows["dress/été 2"]["category"] == "dress"
    assert rows["dress/été 2"]["colour"] == "red"
    assert rows["shoes/broken"]["colour"] == "unknown"
    (url,) = rows["shoes/a b"]["image_urls"]
    assert url == f"http://127.0.0.1:{PORT}/photos/shoes/a%20b.jpeg"
    assert sample.file_of(url).read_bytes() == (photos / "shoes" / "a b.jpeg").read_bytes()
    assert sample.queries == []
    assert (sample.products, sample.pictures) == (5, 5)


def test_a_photo_more_is_noticed(photos: Path, tmp_path: Path) -> None:
    photos_sample(tmp_path / "home", photos, PORT)
    (photos / "dress" / "new.jpg").write_bytes((photos / "dress" / "one.jpg").read_bytes())
    assert photos_sample(tmp_path / "home", photos, PORT).products == 6


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_no_photos_is_one_clear_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    text = f"no photos in {tmp_path / name}: wanted are sub-folders (categories) of JPEG, PNG or WebP files"
    with pytest.raises(NotFound) as caught:
        photos_sample(tmp_path / "home", tmp_path / name, PORT)
    assert caught.value.message == text
