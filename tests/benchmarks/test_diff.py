"""The benchmark itself runs, on next to nothing: its seconds here mean nothing, its counts do."""

import pytest


@pytest.mark.slow
def test_what_was_changed_is_counted(benchmark) -> None:
    small = ("--n", "900", "--new", "30", "--changed", "22", "--removed", "7", "--rounds", "2")
    said = benchmark("diff", *small).figures
    assert said["exact"] is True
    assert said["counts"] == {
        "new": 30,
        "removed": 7,
        "repictured": 6,
        "touched": 6,
        "reattributed": 10,
        "unchanged": 900 + 30 - 7 - 22 - 7,
    }
    assert said["memory_mb"] > 0


def test_more_changes_than_products_are_refused(benchmark) -> None:
    ran = benchmark("diff", "--n", "10", "--changed", "8", "--removed", "3")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines() == ["more products are changed and removed than there are"]
