"""Two runs at once over different contents of the catalogue: what is live is of one, and the later."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest

from tests import pipeline_run
from tests.pipeline import PRODUCTS, Records, Shop, shop_at
from tests.pipeline_run import At
from tests.running import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

POOLS = {
    "downloads": {"product_images"},
    "gpu": {"item_detections", "item_embeddings", "ann_index"},
    "release": {"feature_store", "staging_release"},
}
ENDS = (dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE)
DIFF = At("catalogue_diff", dg.DagsterEventType.STEP_START)


@pytest.fixture
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop_at(tmp_path_factory.mktemp("shop")) as shop:
        yield shop


@pytest.fixture
def records(shop: Shop) -> Iterator[Records]:
    with shop.instance() as instance:
        yield Records(instance)


def at_once_in_a_pool(records: Records, *run_ids: str) -> list[str]:
    """Pools in which two steps of these runs were at work at the same time."""
    spans = []
    for run_id in run_ids:
        ends = dict(event for kind in ENDS for event in records.events(run_id, kind))
        starts = dict(records.events(run_id, dg.DagsterEventType.STEP_START))
        spans += [(starts[step], ends[step], step) for step in starts]
    found = []
    for pool, steps in POOLS.items():
        own = sorted(span for span in spans if span[2] in steps)
        if any(end > start for (_, end, _), (start, _, _) in pairwise(own)):
            found.append(pool)
    return found


def test_a_run_that_is_overtaken_releases_nothing(shop: Shop, records: Records, tmp_path: Path) -> None:
    late = pipeline_run.start(shop.environment, waits=(DIFF, tmp_path / "go"))
    late_id, _ = records.in_step("catalogue_diff")
    shop.write(range(PRODUCTS + 1))
    assert pipeline_run.ended(pipeline_run.start(shop.environment)) == 0
    live = shop.released
    (tmp_path / "go").touch()
    assert pipeline_run.ended(late) == 1
    assert shop.released == live
    assert shop.live == set(range(PRODUCTS + 1))
    (failed,) = records.events(late_id, dg.DagsterEventType.STEP_FAILURE)
    assert failed[0] == "staging_release"

    assert pipeline_run.ended(pipeline_run.start(shop.environment)) == 0
    assert records.metadata("ann_index")["build"] == "nothing"
    assert shop.released == live

    # As they come: each waits for the other where both would write.
    shop.write(range(PRODUCTS + 2))
    earlier = pipeline_run.start(shop.environment)
    until(lambda: records.runs()[0].run_id != late_id and records.in_step("product_images"), "a snapshot")
    shop.write(range(PRODUCTS + 3))
    assert pipeline_run.ended(pipeline_run.start(shop.environment)) == 0
    pipeline_run.ended(earlier)
    assert shop.live == set(range(PRODUCTS + 3))
    assert len(shop.released) == len(set(shop.released))
    assert shop.rows_twice() == []
    assert at_once_in_a_pool(records, *[run.run_id for run in records.runs()[:2]]) == []
    assert pipeline_run.ended(pipeline_run.start(shop.environment)) == 0
    assert records.metadata("ann_index")["build"] == "nothing"
