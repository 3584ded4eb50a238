from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsearch_assets.sample.catalogue import Sample, photos_sample
from imgsearch_assets.sample.change import add_bad_rows
from imgsearch_assets.sample.evaluate import photo_queries, recall_at, retaken, street_queries
from serving.images.decode import decode

PRODUCTS, PORT = 6, 8123  # of the sample in conftest.py


def test_a_retaken_picture_is_a_brighter_part(drawn: Sample) -> None:
    picture = decode((drawn.folder / "pictures" / "p000000-near.jpg").read_bytes())
    query = decode(retaken(picture, 1))
    area = query.shape[0] * query.shape[1] / (picture.shape[0] * picture.shape[1])
    assert area == pytest.approx(0.7, abs=0.01)
    assert query.mean() > picture.mean()
    assert retaken(picture, 1) == retaken(picture, 1) != retaken(picture, 2)


def test_photo_queries_are_spread_and_have_their_answers(drawn: Sample) -> None:
    queries = photo_queries(drawn, 3)
    assert [product_id for _, product_id in queries] == ["P000000", "P000002", "P000004"]
    assert all(decode(picture).ndim == 3 for picture, _ in queries)
    assert len(photo_queries(drawn, 1000)) == PRODUCTS


def test_street_queries_are_of_products_that_are_there(sample: Sample) -> None:
    with duckdb.connect(str(sample.catalogue)) as connection:
        connection.execute("DELETE FROM products WHERE product_id = 'P000002'")
    ids = [product_id for _, product_id in street_queries(sample, 1000)]
    assert "P000002" not in ids
    assert len(ids) == PRODUCTS - 1


def test_bad_rows_are_no_queries(sample: Sample) -> None:
    add_bad_rows(sample)
    assert len(photo_queries(sample, 1000)) == PRODUCTS - 1


def test_photos_are_queries_too(photos: Path, tmp_path: Path) -> None:
    (photos / "shoes" / "broken.jpg").unlink()
    sample = photos_sample(tmp_path / "home", photos, PORT)
    assert len(photo_queries(sample, 10)) == 4
    assert street_queries(sample, 10) == []


def test_recall_counts_who_comes_early_enough() -> None:
    ranked = [["a", "b"], ["b", "a"], ["c"], []]
    assert recall_at(1, ranked, ["a", "a", "c", "d"]) == 0.5
    assert recall_at(2, ranked, ["a", "a", "c", "d"]) == 0.75


@given(st.lists(st.sampled_from("abc"), min_size=1), st.integers(1, 5))
def test_recall_grows_with_k(truth: list[str], k: int) -> None:
    ranked = [list(np.random.default_rng(i).permutation(list("abc"))) for i in range(len(truth))]
    assert recall_at(k, ranked, truth) <= recall_at(k + 1, ranked, truth) <= 1


def test_recall_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^no queries$"):
        recall_at(1, [], [])
    with pytest.raises(ValueError, match="longer"):
        recall_at(1, [["a"]], ["a", "b"])
