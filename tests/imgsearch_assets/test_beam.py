import pytest

from imgsearch_assets import index


def test_the_least_beam_that_finds_enough(shop) -> None:
    figures = shop.build().figures
    assert (figures.beam, figures.recall_at_10) == (32, 1.0)


def test_the_largest_beam_where_none_finds_enough(shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_ENOUGH_RECALL", 1.1)
    assert shop.build().figures.beam == 128
