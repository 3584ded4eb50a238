"""The benchmark itself runs, on next to nothing: its times here mean nothing, its bytes do."""

import pytest

OPTIONS = ("--sizes", "10000", "20000", "--new", "10", "--rounds", "1")


@pytest.mark.slow
def test_new_products_are_written_found_and_cost_what_they_are(benchmark) -> None:
    said = benchmark("incremental", *OPTIONS).figures
    assert said["cost_ratio_20k_to_10k"] > 0
    assert said["bytes_ratio"] == pytest.approx(1, abs=0.05)
    large = said["20000"]
    assert large["written_bytes"] < large["full_bytes"] / 50
    assert large["read_bytes"] < large["full_bytes"] / 5, "the base is not read again"
