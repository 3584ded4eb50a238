"""The benchmark itself runs, on next to nothing: its figures mean nothing, but that both made the same."""

import pytest


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_pods_on_googles_services_make_what_one_process_makes(benchmark) -> None:
    said = benchmark("cloud_twin", "--n", "8", limit_s=500).figures
    assert said["same_generation"] == 1
    assert said["pods"] == 6, "the run, two parts of boxes, two of vectors, the index"
    assert said["overhead"] > 0
