"""Two search services, one of which is always there: nobody who searches notices that the other is not."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.running import ANOTHER_SEARCH, IDS, Platform, run_platform, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SEARCHES = ("search", ANOTHER_SEARCH)
# Of each kind of request; so many wait for an answer at any time.
PEOPLE = 3


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    environment = {"IMGSEARCH_RESULT_TTL_S": "0", "IMGSEARCH_DRAIN_PAUSE_S": os.environ.get("P", "1")}  # else what is known is answered without the services
    with run_platform(tmp_path_factory.mktemp("platform") / "home", SEARCHES, **environment) as platform:
        yield platform


Ask = Callable[[Platform, httpx.Client, int], httpx.Response]


def _similar(_: Platform, http: httpx.Client, number: int) -> httpx.Response:
    return http.get(f"/v1/products/{IDS[number % len(IDS)]}/similar", params={"k": 3 + number % 5})


def _posted(_: Platform, http: httpx.Client, number: int) -> httpx.Response:
    return http.post("/v1/search", json={"product_id": IDS[number % len(IDS)], "k": 3 + number % 5})


def _product(_: Platform, http: httpx.Client, number: int) -> httpx.Response:
    return http.get(f"/v1/products/{IDS[number % len(IDS)]}")


def _explained(_: Platform, http: httpx.Client, number: int) -> httpx.Response:
    return http.get(f"/v1/products/{IDS[number % len(IDS)]}/explain", params={"like": IDS[0]})


def _ready(_: Platform, http: httpx.Client, __: int) -> httpx.Response:
    return http.get("/readyz")


def _status(_: Platform, http: httpx.Client, __: int) -> httpx.Response:
    return http.get("/v1/status")


ASKED: tuple[Ask, ...] = (_similar, _posted, _product, _explained, _ready, _status)


@contextmanager
def load(platform: Platform) -> Iterator[dict[str, Counter[str]]]:
    """People who ask for everything, over and over, while the block runs; what they were answered."""
    found = {ask.__name__: Counter[str]() for ask in ASKED}
    stop = threading.Event()

    def person(ask: Ask) -> None:
        number = 0
        with httpx.Client(base_url=platform.url, timeout=30) as http:
            while not stop.is_set():
                try:
                    reply = ask(platform, http, number)
                    said = "200" if reply.status_code == 200 else f"{reply.status_code} {reply.text}"
                except httpx.HTTPError as error:
                    said = repr(error)
                found[ask.__name__][said.partition("request_id")[0]] += 1
                number += 1

    people = [threading.Thread(target=person, args=(ask,)) for ask in ASKED for _ in range(PEOPLE)]
    for thread in people:
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        for thread in people:
            thread.join()


def _serves(platform: Platform, name: str) -> bool:
    with grpc.insecure_channel(platform.address(name)) as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        except grpc.RpcError:
            return False
    return reply.status == health_pb2.HealthCheckResponse.SERVING


def _back(platform: Platform, name: str) -> None:
    platform.start(name)
    until(lambda: _serves(platform, name), f"{name} serving")
    time.sleep(3)


def test_one_after_the_other_is_restarted(platform: Platform) -> None:
    with load(platform) as seen:
        time.sleep(1)
        for _ in range(3):
            for name in SEARCHES:
                platform.end(name)
                _back(platform, name)
    print(seen)
    assert {said for answers in seen.values() for said in answers} == {"200"}


def test_one_after_the_other_dies(platform: Platform) -> None:
    with load(platform) as seen:
        time.sleep(1)
        for _ in range(3):
            for name in SEARCHES:
                platform.kill(name)
                time.sleep(1)
                _back(platform, name)
    print(seen)
    assert {said for answers in seen.values() for said in answers} == {"200"}
