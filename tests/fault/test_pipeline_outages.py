"""What a run could not do for want of others is made up for by the next, whatever that was started for."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from imgsearch_assets.images.store import fetch_table
from tests import pipeline_run
from tests.pipeline import PRODUCTS, Records, Shop, shop_at

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop_at(tmp_path_factory.mktemp("shop")) as shop:
        assert refreshed(shop)
        yield shop


def refreshed(shop: Shop) -> bool:
    """Whether a run went well, as the daily one does it."""
    return pipeline_run.ended(pipeline_run.start(shop.environment)) == 0


def time_passes(shop: Shop) -> None:
    """What failed is due again."""
    table = fetch_table(shop.store)
    rows = table.read()
    failed = rows.filter(pc.equal(rows["status"], pa.scalar("failed")))
    place = failed.schema.get_field_index("retry_after")
    due = pa.array([datetime(2020, 1, 1, tzinfo=UTC)] * failed.num_rows, failed.schema.field(place).type)
    table.append(failed.set_column(place, failed.schema.field(place), due))


def test_a_run_that_failed_is_made_up_for(shop: Shop) -> None:
    # The picture host is away: a row with a reason, and a day later the daily run has the picture.
    shop.host.away = True
    shop.write(range(PRODUCTS + 1))
    assert refreshed(shop)
    assert shop.live == set(range(PRODUCTS))
    with shop.instance() as instance:
        assert Records(instance).metadata("product_images")["without_picture"] == 1
    shop.host.away = False
    time_passes(shop)
    assert refreshed(shop)
    assert shop.live == set(range(PRODUCTS + 1))

    # A gate: most of the shop is gone, and a product is new.
    shop.write([*range(5), PRODUCTS + 1])
    assert not refreshed(shop)
    assert shop.live == set(range(PRODUCTS + 1))
    shop.write(range(PRODUCTS + 3))
    assert refreshed(shop)
    assert shop.live == set(range(PRODUCTS + 3))

    # A catalogue that nobody can read.
    shop.catalogue.write_bytes(b"half a file")
    assert not refreshed(shop)
    assert shop.live == set(range(PRODUCTS + 3))
    shop.write(range(1, PRODUCTS + 4))
    assert refreshed(shop)
    assert shop.live == set(range(1, PRODUCTS + 4))
