"""A catalogue changes, and a daemon does what follows: as few runs as can be, and none for nothing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from tests import pipeline_run
from tests.pipeline import MISMATCH, PRODUCTS, Records, Shop, shop_at
from tests.postgres_process import PostgresProcess
from tests.running import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings(MISMATCH)]

FAILURE, SUCCESS = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS
BURST = 20
# Some looks of the sensor, and of the conditions.
QUIET_S = 8


@contextmanager
def followed(home: Path) -> Iterator[Shop]:
    """What is in the catalogue is searchable, and a daemon is there."""
    with shop_at(home) as shop:
        assert pipeline_run.ended(pipeline_run.start(shop.environment)) == 0
        shop.start()
        yield shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with followed(tmp_path_factory.mktemp("shop")) as shop:
        yield shop


@pytest.fixture
def records(shop: Shop) -> Iterator[Records]:
    with shop.instance() as instance:
        yield Records(instance)


def live(shop: Shop, products: int) -> None:
    until(lambda: shop.live == set(range(products)), f"{products} products in the search", 180)


def test_many_changes_while_a_run_is_in_work_are_one_run_after_it(shop: Shop, records: Records) -> None:
    shop.host.open.clear()
    shop.write(range(PRODUCTS + 1))
    records.in_step("product_images", 120)
    for number in range(2, BURST + 1):
        shop.write(range(PRODUCTS + 1), price=1000 + number)
        time.sleep(0.2)
    shop.write(range(PRODUCTS + 2))
    shop.host.open.set()
    live(shop, PRODUCTS + 2)
    until(records.settled, "the end of all runs")
    assert [run.status for run in records.runs()] == [SUCCESS] * 3, "the first made the shop"
    assert records.metadata("catalogue_diff")["new"] == 1
    # The small path: one product more is one more delta on the base of the first run.
    index = records.metadata("ann_index")
    assert (index["build"], index["deltas"]) == ("delta", 2)
    assert index["why"] == "1 products come, 0 of before go"


def test_a_catalogue_that_did_not_change_starts_nothing(shop: Shop, records: Records) -> None:
    runs = len(records.runs())
    shop.write(range(PRODUCTS + 2))  # the same content in another file
    time.sleep(QUIET_S)
    assert len(records.runs()) == runs


def test_a_failed_step_is_tried_again_and_what_comes_later_makes_up_for_it(
    shop: Shop, records: Records
) -> None:
    runs = len(records.runs())
    shop.redis.kill()
    shop.write(range(PRODUCTS + 3))
    until(lambda: len(records.runs()) == runs + 1, "a run")
    until(records.settled, "its end", 180)
    failed = records.runs()[0]
    assert failed.status == FAILURE
    tries = records.events(failed.run_id, dg.DagsterEventType.STEP_RESTARTED)
    asked = records.events(failed.run_id, dg.DagsterEventType.STEP_UP_FOR_RETRY)
    assert [step for step, _ in tries] == ["feature_store"] * 2
    waits = [restarted - failed for (_, restarted), (_, failed) in zip(tries, asked, strict=True)]
    assert 2 <= waits[0] <= 4 <= waits[1], "each time longer"
    assert shop.live == set(range(PRODUCTS + 2))
    time.sleep(QUIET_S)
    assert len(records.runs()) == runs + 1, "nothing is started for nothing"

    shop.redis.start()
    shop.write(range(PRODUCTS + 4))
    live(shop, PRODUCTS + 4)
    until(records.settled, "the end of all runs")
    assert records.runs()[0].status == SUCCESS
    assert records.metadata("item_detections")["detected"] == 1, "the first is kept from the run that failed"


def test_with_its_records_in_postgres(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres = PostgresProcess()
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", postgres.url)
    with followed(tmp_path_factory.mktemp("shop")) as shop, shop.instance() as instance:
        records = Records(instance)
        shop.write(range(PRODUCTS + 1))
        live(shop, PRODUCTS + 1)
        until(records.settled, "the end of all runs")
        assert [run.status for run in records.runs()] == [SUCCESS] * 2
        assert not list(shop.dagster.rglob("*.db"))
    postgres.close()
