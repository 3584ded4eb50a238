"""Who may ask over HTTP: every route, with every kind of key."""

import http.client
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from serving.api.admin import create_admin
from serving.api.app import create_app
from serving.api.telemetry import Metrics
from serving.errors import BadSettings
from serving.identity import store as stored
from serving.object_store import LocalObjectStore
from serving.settings import Settings

# What everybody may have of the public application; all else needs a key.
OPEN = {"/", "/docs", "/docs/assets", "/healthz", "/openapi.json", "/page", "/readyz"}

KNOCKS = {
    "none": (401, "unauthenticated", "an API key is needed; send it as Authorization: Bearer KEY"),
    "unknown": (401, "unauthenticated", "this API key is not known here"),
    "revoked": (401, "unauthenticated", "API key {id} was revoked"),
    "expired": (401, "unauthenticated", "API key {id} has expired"),
    "wrong scope": (403, "forbidden", "API key {id} has no scope {scope}"),
}


def keys_of(home: Path, scope: str) -> dict[str, str | None]:
    """A key of every kind, by the name of its kind."""
    store = LocalObjectStore(home / "objects")
    other = "admin" if scope == "search" else "search"
    revoked, revoked_told = stored.create(store, "local", "revoked", [scope])
    stored.revoke(store, "local", revoked.id)
    expired = stored.create(store, "local", "expired", [scope], expires_at=time.time() + 0.01)[1]
    wrong, right = (stored.create(store, "local", name, [name])[1] for name in (other, scope))
    time.sleep(0.02)
    strange = f"imgs_{wrong[5:17]}_{'0' * 64}"
    return {
        "none": None,
        "unknown": strange,
        "revoked": revoked_told,
        "expired": expired,
        "wrong scope": wrong,
        "right": right,
    }


def routes_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    """(method, path) of everything that the application answers, from the application itself."""
    for found in app.routes:
        if isinstance(found, Mount):
            yield "GET", found.path
        elif isinstance(found, Route):
            for method in sorted(found.methods or ()):
                yield method, found.path
        else:
            for context in found.effective_route_contexts():  # of a router that was included
                for method in sorted(context.methods):
                    yield method, context.path


def filled(path: str) -> str:
    return path.replace("{product_id}", "p1").replace("{key_id}", "0123456789ab")


def error_of(reply: httpx.Response) -> tuple[int, str, str]:
    body = reply.json()
    assert set(body["error"]) == {"code", "message", "request_id"}
    assert body["error"]["request_id"] == reply.headers["x-request-id"]
    return reply.status_code, body["error"]["code"], body["error"]["message"]


@pytest.mark.parametrize(
    ("make", "scope", "free"),
    [(create_app, "search", OPEN), (partial(create_admin, metrics=Metrics()), "admin", {"/healthz"})],
    ids=["public", "admin"],
)
def test_every_route_with_every_kind_of_key(
    tmp_path: Path, make: Callable[[Settings], FastAPI], scope: str, free: set[str]
) -> None:
    kinds = keys_of(tmp_path, scope)
    service_key = kinds["right"] if scope == "search" else None
    app = make(Settings(home=tmp_path, open=scope != "search" and None, service_key=service_key))
    walked = set()
    with TestClient(app) as client:
        for method, path in routes_of(app):
            walked.add(path)
            for kind, key in kinds.items():
                headers = {} if key is None else {"Authorization": f"Bearer {key}"}
                reply = client.request(method, filled(path), headers=headers)
                if path in free or kind == "right":
                    assert reply.status_code not in (401, 403, 429), (method, path, kind)
                    continue
                assert reply.status_code == KNOCKS[kind][0], (method, path, kind)
                assert ("www-authenticate" in reply.headers) == (reply.status_code == 401)
                if method != "HEAD":
                    status, code, said = KNOCKS[kind]
                    key_id = "" if key is None else key[5:17]
                    assert error_of(reply) == (status, code, said.format(id=key_id, scope=scope))
    assert free <= walked
    assert len(walked) == len(free) + (6 if scope == "search" else 10)


@pytest.fixture
def closed(run_house: Any, tmp_path: Path) -> Iterator[tuple[Any, dict[str, str | None]]]:
    kinds = keys_of(tmp_path, "search")
    with run_house(
        home=tmp_path, open=False, service_key=kinds["right"], max_concurrency=1, rate="50/minute"
    ) as house:
        yield house, kinds


def test_what_a_right_key_gets(closed: Any, caplog: pytest.LogCaptureFixture) -> None:
    house, kinds = closed
    asked = {"product_id": "red-dress"}
    with caplog.at_level(logging.INFO, logger="serving.api.access"):
        for headers in (
            {"Authorization": f"Bearer {kinds['right']}"},
            {"authorization": f"bearer  {kinds['right']}"},
            {"X-Api-Key": kinds["right"]},
            {"X-Api-Key": kinds["right"], "Authorization": "Basic c2hvcDpzaG9w"},
        ):
            reply = house.http.post("/v1/search", json=asked, headers=headers)
            assert reply.status_code == 200, reply.text
    assert house.search.metadata["authorization"] == f"Bearer {kinds['right']}", "the front's own"
    assert kinds["right"] not in caplog.text
    for headers in (
        {"Authorization": "Basic c2hvcDpzaG9w"},
        {"Authorization": str(kinds["right"])},
        {"Authorization": f"Bearer {kinds['unknown']}", "X-Api-Key": str(kinds["right"])},
    ):
        assert house.http.post("/v1/search", json=asked, headers=headers).status_code == 401


def test_a_refused_request_has_its_body_left_and_takes_no_place(closed: Any, patches: Any) -> None:
    house, kinds = closed
    connection = http.client.HTTPConnection(house.url.removeprefix("http://"), timeout=10)
    connection.putrequest("POST", "/v1/search/image")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders()  # and not a byte of it
    reply = connection.getresponse()
    assert (reply.status, reply.getheader("Connection")) == (401, "close")
    assert json.loads(reply.read())["error"]["code"] == "unauthenticated"
    connection.close()

    right = {"Authorization": f"Bearer {kinds['right']}"}
    house.detect.delay_s = 1.0
    replies = []

    def search() -> None:
        sent = house.http.post("/v1/search/image", files={"image": patches("red")}, headers=right)
        replies.append(sent.status_code)

    running = threading.Thread(target=search)
    running.start()
    until = time.monotonic() + 10
    while not house.detect.calls:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert house.http.get("/v1/status").status_code == 401, "known to be nobody before it is one too many"
    assert house.http.get("/v1/status", headers=right).json()["error"]["code"] == "overloaded"
    running.join()
    assert replies == [200]


def test_too_often(run_house: Any, redis_url: str, tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path / "objects")
    key, told = stored.create(store, "local", "till", ["search"], rate="3/minute")
    with run_house(
        home=tmp_path, open=False, service_key=told, redis_url=redis_url, redis_timeout_s=2.0
    ) as house:
        for _ in range(3):
            assert house.http.get("/v1/status", headers={"X-Api-Key": told}).status_code == 200
        reply = house.http.get("/v1/status", headers={"X-Api-Key": told})
        assert error_of(reply) == (429, "rate_limited", f"API key {key.id} may ask 3 times a minute")
        assert 1 <= int(reply.headers["retry-after"]) <= 60
        assert house.http.get("/healthz").status_code == 200


def test_a_key_that_is_revoked_stops_working(closed: Any, tmp_path: Path) -> None:
    house, kinds = closed
    right = {"Authorization": f"Bearer {kinds['right']}"}
    assert house.http.get("/v1/status", headers=right).status_code == 200
    stored.revoke(LocalObjectStore(tmp_path / "objects"), "local", str(kinds["right"])[5:17])
    until = time.monotonic() + 10
    while house.http.get("/v1/status", headers=right).status_code == 200:
        assert time.monotonic() < until
        time.sleep(0.5)
    assert house.http.get("/v1/status", headers=right).status_code == 401


def test_the_description_names_the_key_where_one_is_needed(tmp_path: Path) -> None:
    key = stored.create(LocalObjectStore(tmp_path / "objects"), "local", "front", ["search"])[1]
    closed = create_app(Settings(home=tmp_path, open=False, service_key=key)).openapi()
    assert closed["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, operations in closed["paths"].items():
        for operation in operations.values():
            assert operation.get("security") == ([{"key": []}] if path.startswith("/v1/") else None)
    assert create_app(Settings()).openapi()["paths"]["/v1/search"]["post"]["security"] == [{"key": []}, {}]


def test_a_closed_front_needs_a_key_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(BadSettings) as error:
        create_app(Settings(home=tmp_path, environment="staging"))
    assert error.value.message == (
        "IMGSEARCH_SERVICE_KEY must be set in staging; `imgsearch keys create --scope search` makes one"
    )
