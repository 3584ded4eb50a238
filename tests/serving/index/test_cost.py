import pytest

from serving.index import cost


@pytest.mark.parametrize("dim", [24, 128, 256, 1024])
def test_little_is_copied_and_much_is_looked_through(dim: int) -> None:
    assert cost.gathered_us(20, 200_000, dim) < cost.scanned_us(20, 200_000, dim)
    assert cost.gathered_us(150_000, 200_000, dim) > cost.scanned_us(150_000, 200_000, dim)


def test_costs_rise_with_the_dimension_and_the_rows() -> None:
    for a, b in ((24, 128), (128, 256)):
        assert cost.graph_us(128, 200_000, a) < cost.graph_us(128, 200_000, b)
        assert cost.exact_us(5_000, 200_000, a) < cost.exact_us(5_000, 200_000, b)
    assert cost.graph_us(128, 200_000, 128) < cost.graph_us(256, 200_000, 128)
    assert cost.graph_us(128, 20_000, 128) < cost.graph_us(128, 200_000, 128)
    assert cost.exact_us(5_000, 200_000, 128) < cost.exact_us(6_000, 200_000, 128)
