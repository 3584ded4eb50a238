"""Runs, and the daemon that starts them, killed wherever they are: nothing is lost, nothing done twice."""

import os
import signal
from collections import Counter
from collections.abc import Iterator

import dagster as dg
import pytest

from tests import pipeline_run
from tests.pipeline import PRODUCTS, STEPS, Records, Shop, shop_at
from tests.pipeline_run import At
from tests.running import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FAILURE, SUCCESS = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop_at(tmp_path_factory.mktemp("shop")) as shop:
        yield shop


def killed(shop: Shop, step: str) -> int:
    """The exit status of a run killed when the work of a step is done and nobody knows of it."""
    at = At(step, dg.DagsterEventType.ASSET_MATERIALIZATION, after=False)
    return pipeline_run.ended(pipeline_run.start(shop.environment, dies=at))


def test_a_run_that_is_killed_at_any_step_goes_on_where_it_was(shop: Shop) -> None:
    """Each time with a place in a pool; nobody but the next run is there to free it."""
    for step in STEPS:
        assert shop.live == set(), step
        assert killed(shop, step) == -signal.SIGKILL
    assert len(shop.released) == 1, "the last was killed when the pointer had moved"
    assert pipeline_run.ended(pipeline_run.start(shop.environment)) == 0
    whole(shop, PRODUCTS, releases=1)
    with shop.instance() as instance:
        again = Records(instance)
        assert again.metadata("product_images")["downloaded"] == 0
        assert again.metadata("item_detections")["detected"] == 0
        assert again.metadata("item_embeddings")["embedded"] == 0
        assert again.metadata("feature_store")["written"] == 0
        assert again.metadata("ann_index")["build"] == "nothing"


def whole(shop: Shop, products: int, releases: int) -> None:
    """So many are live; generations were released once, pictures fetched once, features made once."""
    assert shop.live == set(range(products))
    assert len(shop.released) == len(set(shop.released)) == releases
    assert shop.host.requests == Counter(range(products))
    assert shop.rows_twice() == []


def since(records: Records, count: int) -> list[dg.DagsterRunStatus]:
    """How the runs ended that came after ``count`` others, the first of them first."""
    return [run.status for run in records.runs()[::-1][count:]]


def test_the_daemon_makes_up_for_what_was_killed(shop: Shop) -> None:
    if not shop.live:  # without the test before; the daemon would begin with a run for the models
        assert pipeline_run.ended(pipeline_run.start(shop.environment)) == 0
    with shop.instance() as instance:
        records = Records(instance)
        first = PRODUCTS
        before = len(records.runs())

        # The daemon alone, with a run in work: that is another process, and ends by itself.
        shop.start()
        shop.host.open.clear()
        shop.write(range(first + 1))
        run_id, _ = records.in_step("product_images")
        shop.kill()
        shop.host.open.set()
        until(lambda: len(shop.live) == first + 1, "the end of a run without its daemon", 180)

        # Everything there is, as when the machine ends; the daemon of the next start finds out.
        shop.start()
        shop.write(range(first + 2))
        records.in_step("item_embeddings", 180)
        assert records.runs()[0].run_id != run_id
        shop.kill_everything()
        assert len(shop.live) == first + 1
        shop.start()
        until(lambda: len(shop.live) == first + 2, "a run in the place of the one that was killed", 240)
        until(records.settled, "the end of all runs")
        assert since(records, before) == [SUCCESS, FAILURE, SUCCESS]
        before = len(records.runs())

        # The run alone, with a place in the pool of downloads.
        shop.host.open.clear()
        shop.write(range(first + 3))
        _, process = records.in_step("product_images", 180)
        until(lambda: shop.host.requests[first + 2] == 1, "a request")
        os.kill(process, signal.SIGKILL)
        shop.host.open.set()
        until(lambda: len(shop.live) == first + 3, "a run in the place of the one that was killed", 240)
        until(records.settled, "the end of all runs")
        assert since(records, before) == [FAILURE, SUCCESS]
        shop.host.requests[first + 2] -= 1  # nobody took the answer to the first
        whole(shop, first + 3, releases=4)

        # A run that hangs.
        before = len(records.runs())
        shop.host.open.clear()
        shop.write(range(first + 4))
        run_id, process = records.in_step("product_images", 180)
        until(lambda: shop.host.requests[first + 3] == 1, "a request")
        os.kill(process, signal.SIGSTOP)
        shop.host.open.set()
        instance.add_run_tags(run_id, {"dagster/max_runtime": "1"})
        until(lambda: len(records.runs()) == before + 2, "a run in the place of the one that hung", 120)
        instance.add_run_tags(records.runs()[0].run_id, {"dagster/max_runtime": "600"})  # else as the first
        until(lambda: len(shop.live) == first + 4, "its end", 240)
        until(records.settled, "the end of all runs")
        assert since(records, before) == [FAILURE, SUCCESS]
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
