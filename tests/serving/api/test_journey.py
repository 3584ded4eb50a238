"""Where a product is, over HTTP: for administrators, and as it is described."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
import schemathesis
from hypothesis import given, settings
from schemathesis.specs.openapi.checks import ignored_auth
from starlette.testclient import TestClient

from serving.api.admin import create_admin
from serving.api.journey import EXAMPLE, JOURNEY
from serving.api.telemetry import Metrics
from serving.cache.stock import SOLD_OUT
from serving.cache.stock_log import StockLog
from serving.identity.store import create
from serving.index.store import pointer_key
from serving.ledger.journey import Journey
from serving.settings import Settings
from tests.history import History, names_of

PATH = "/v1/admin/products/{}/journey"


@pytest.fixture
def history(tmp_path: Path) -> History:
    found = History(tmp_path)
    found.sells(*names_of(20), "a/b")
    found.runs()
    return found


@pytest.fixture
def admin(history: History, tmp_path: Path, redis_url: str) -> Iterator[TestClient]:
    _, key = create(history.store, "local", "Ada", ["admin"])
    app = create_admin(Settings(home=tmp_path, redis_url=redis_url), Metrics())
    with TestClient(app, headers={"Authorization": f"Bearer {key}"}) as client:
        yield client


def told(reply: Any) -> tuple[int, str, str]:
    error = reply.json()["error"]
    return reply.status_code, error["code"], error["message"]


def test_where_a_product_is(admin: TestClient, history: History, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    with closing(StockLog(redis_url, "local")) as log:
        reply = admin.get(PATH.format("p003"))
        assert reply.status_code == 200
        assert reply.json() == history.explain("p003", stock_log=log).model_dump()
        assert admin.get(PATH.format("a/b")).json()["verdict"] == "live"
        log.write_whole(None, {"p003": SOLD_OUT})
        assert admin.get(PATH.format("p003")).json()["verdict"] == "sold_out"


def test_nobody_saw_it(admin: TestClient) -> None:
    assert told(admin.get(PATH.format("never"))) == (
        404,
        "not_found",
        "nobody ever saw a product 'never': no catalogue, and no generation, had it",
    )
    assert told(admin.get(PATH.format("x" * 257)))[:2] == (422, "bad_input")


def test_it_is_not_for_a_key_that_pages_hold(admin: TestClient, history: History) -> None:
    _, key = create(history.store, "local", "page", ["search"])
    client = TestClient(admin.app)
    assert client.get(PATH.format("p003")).status_code == 401
    with TestClient(create_admin(Settings(home=history.store.root.parent), Metrics())) as client:
        reply = client.get(PATH.format("p003"), headers={"X-Api-Key": key})
        assert told(reply)[:2] == (403, "forbidden")


def test_a_damaged_pointer_is_told(admin: TestClient, history: History) -> None:
    history.store.put(pointer_key("local"), b"{")
    status, code, message = told(admin.get(PATH.format("p003")))
    assert (status, code) == (500, "unverified")
    assert message.startswith("environments/local.json is no pointer: ")


def test_it_is_described(admin: TestClient) -> None:
    assert Journey.model_validate(EXAMPLE).model_dump() == EXAMPLE
    operation = admin.get("/openapi.json").json()["paths"][PATH.format("{product_id}")]["get"]
    assert set(operation["responses"]) >= {str(status) for status in JOURNEY}
    assert operation["security"] == [{"key": []}]


def test_whatever_the_description_allows(admin: TestClient) -> None:
    """Schemathesis, against the application itself."""
    headers = dict(admin.headers)
    schema = schemathesis.openapi.from_asgi("/openapi.json", admin.app, headers=headers)
    operation = schema[PATH.format("{product_id}")]["GET"]
    statuses = set()

    @given(case=operation.as_strategy())
    @settings(max_examples=40)
    def holds(case: schemathesis.Case) -> None:
        case.path_parameters["product_id"] = name_of(case.path_parameters["product_id"])
        # Which finds the key in the call itself; that one is needed has a test of its own.
        reply = case.call_and_validate(headers=headers, excluded_checks=[ignored_auth])
        statuses.add(reply.status_code)

    holds()
    assert statuses == {200, 404}


def name_of(made_up: str) -> str:
    """Half of them are of products that are there."""
    return made_up if len(made_up) % 2 else "p003"
