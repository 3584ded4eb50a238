"""The benchmark itself runs, on next to nothing: its speeds here mean nothing."""

import pytest

SMALL = ("--n", "3000", "--dim", "32", "--queries", "5", "--rounds", "1", "--data", "synthetic")


@pytest.mark.slow
@pytest.mark.parametrize("rows_per_product", ["1", "2"])
def test_every_filter_is_filled(benchmark, rows_per_product: str) -> None:
    said = benchmark("filters", *SMALL, "--rows-per-product", rows_per_product).figures
    assert said["min_fill"] == 1
    assert said["min_recall"] >= 0.97
    points = said["synthetic"]["points"]
    assert len(points) == 25, "nine scattered ones, and eight of each clustered kind"
    assert {point["keeps"] for point in points} >= {1.0, 0.0001}
