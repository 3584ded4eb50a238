import pytest

from imgsearch_assets.environment import read_environment
from imgsearch_assets.graph.costs import EXAMPLE, Prices, cost_of
from serving.errors import BadSettings

YEN = Prices(currency="JPY", cpu=36, gpu=360, io=3.6)


def test_seconds_are_priced_by_the_machine_of_their_step() -> None:
    found = cost_of({"ann_index": 100, "item_embeddings": 50, "product_images": 1_000}, 0, YEN)
    assert [(step.name, step.machine, step.cost) for step in found.steps] == [
        ("item_embeddings", "gpu", 5.0),
        ("ann_index", "cpu", 1.0),
        ("product_images", "io", 1.0),
    ]
    assert found.cost == 7.0
    assert found.seconds == {"gpu": 50, "cpu": 100, "io": 1_000}


def test_the_cost_of_new_items_is_that_of_the_whole_run() -> None:
    assert cost_of({"ann_index": 100}, 500, YEN).per_1000_new == 2.0
    assert cost_of({"ann_index": 100}, 0, YEN).per_1000_new is None


def test_prices_are_a_setting_that_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_environment().pipeline.prices == EXAMPLE
    monkeypatch.setenv("IMGSEARCH_PRICES", str(YEN))
    assert read_environment().pipeline.prices == YEN
    for wrong in ('{"cpu": 1}', "1,600 yen a day"):
        monkeypatch.setenv("IMGSEARCH_PRICES", wrong)
        with pytest.raises(BadSettings) as refused:
            read_environment()
        assert str(refused.value) == (
            "IMGSEARCH_PRICES: Value error, must have all of what this has: "
            '{"currency":"USD","cpu":0.19,"gpu":0.71,"io":0.07}'
        )
