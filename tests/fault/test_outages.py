"""Each thing that the platform leans on dies, hangs and comes back, while people search."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from tests.running import IDS, SERVICES, Platform, run_platform, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

REQUEST_TIMEOUT_S = 4.0


@pytest.fixture(scope="module")
def running_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    environment = {
        # Long enough for answers to be kept, and short enough that most are made.
        "IMGSEARCH_RESULT_TTL_S": "0",  # else what is known is answered without the services
        "IMGSEARCH_REQUEST_TIMEOUT_S": str(REQUEST_TIMEOUT_S),
        # Six processes start on few cores here, and a Redis that has to wait for one is not down.
        "IMGSEARCH_REDIS_TIMEOUT_S": "0.5",
    }
    with run_platform(tmp_path_factory.mktemp("platform") / "home", **environment) as platform:
        yield platform


@pytest.fixture
def platform(running_platform: Platform) -> Platform:
    """Everything up, whatever a test before did, and one picture known by its URL."""
    running_platform.start("redis", *SERVICES)
    with httpx.Client(base_url=running_platform.url, timeout=30) as http:
        until(lambda: _upload(running_platform, http).status_code == 200, "an upload answered")
        until(lambda: _known(running_platform, http).json().get("features") == "stored", "features stored")
    return running_platform


def _product(_: Platform, http: httpx.Client, number: int = 0) -> httpx.Response:
    return http.get(f"/v1/products/{IDS[number % len(IDS)]}/similar", params={"k": 3 + number % 5})


def _known(platform: Platform, http: httpx.Client, number: int = 0) -> httpx.Response:
    body = {"image_url": f"{platform.picture_host}/p0.jpg", "k": 3 + number % 5}
    return http.post("/v1/search", json=body)


def _upload(platform: Platform, http: httpx.Client, number: int = 0) -> httpx.Response:
    picture = platform.pictures[IDS[number % len(IDS)]]
    return http.post("/v1/search/image", files={"image": picture}, data={"k": str(3 + number % 5)})


def _ids(reply: httpx.Response) -> tuple[str, ...]:
    return tuple(hit["product_id"] for hit in reply.json()["results"])


Ask = Callable[[Platform, httpx.Client, int], httpx.Response]


@dataclass
class Load:
    """What people were answered: how often each status, what else was wrong, and the longest wait."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    longest_s: float = 0.0

    def check(self, number: int, reply: httpx.Response, right: dict[int, tuple[str, ...]]) -> None:
        self.statuses[reply.status_code] += 1
        if reply.status_code != 200:
            if set(reply.json()) != {"error"} or set(reply.json()["error"]) != {
                "code",
                "message",
                "request_id",
            }:
                self.wrong.append(reply.text)
            if reply.status_code == 503 and not reply.headers.get("retry-after", "").isdecimal():
                self.wrong.append(f"no Retry-After: {reply.text}")
        elif _ids(reply) != right.setdefault(number % 40, _ids(reply)):
            self.wrong.append(f"{number}: {_ids(reply)}, before {right[number % 40]}")


@contextmanager
def load(platform: Platform, *asked: Ask) -> Iterator[list[Load]]:
    """One who asks for each of ``asked``, over and over, while the block runs; what each was answered."""
    found = [Load() for _ in asked]
    stop, failed = threading.Event(), []

    def person(ask: Ask, seen: Load) -> None:
        right: dict[int, tuple[str, ...]] = {}
        number = 0
        try:
            with httpx.Client(base_url=platform.url, timeout=30) as http:
                while not stop.is_set():
                    start = time.monotonic()
                    seen.check(number, ask(platform, http, number), right)
                    seen.longest_s = max(seen.longest_s, time.monotonic() - start)
                    number += 1
                    time.sleep(0.01)  # a person, not a benchmark
        except BaseException as error:
            failed.append(error)

    people = [threading.Thread(target=person, args=each) for each in zip(asked, found, strict=True)]
    for thread in people:
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        for thread in people:
            thread.join()
    assert not failed


def fine(seen: Load) -> None:
    assert seen.wrong == []
    assert set(seen.statuses) == {200}


@pytest.mark.parametrize("hangs", [False, True], ids=["dies", "hangs"])
def test_redis(platform: Platform, hangs: bool) -> None:
    """No request fails, and each finds what it found before."""
    with load(platform, _product, _product, _known, _upload) as seen:
        time.sleep(1.5)
        if hangs:
            with platform.hanging("redis"):
                time.sleep(3)
        else:
            platform.kill("redis")
            time.sleep(3)
            platform.start("redis")
        with httpx.Client(base_url=platform.url, timeout=30) as http:
            until(lambda: _known(platform, http).json().get("features") == "stored", "features stored again")
    for each in seen:
        fine(each)
        assert each.longest_s < REQUEST_TIMEOUT_S


@pytest.mark.parametrize("name", ["detect", "embed"])
def test_a_model_service_dies(platform: Platform, name: str) -> None:
    with httpx.Client(base_url=platform.url, timeout=30) as http:
        with load(platform, _product, _known, _upload) as (product, known, upload):
            time.sleep(1)
            platform.kill(name)
            until(lambda: _upload(platform, http, 9).status_code == 503, "an upload refused")
            time.sleep(2)
            assert http.get("/readyz").status_code == 200
            status = http.get("/v1/status").json()
            assert status["services"][name] == "unreachable"
            platform.start(name)
            until(lambda: _upload(platform, http, 9).status_code == 200, "an upload answered")
    fine(product)
    fine(known)
    assert upload.wrong == []
    assert set(upload.statuses) == {200, 503}


def test_a_model_service_hangs(platform: Platform) -> None:
    with httpx.Client(base_url=platform.url, timeout=30) as http:
        with load(platform, _product, _known) as (product, known):
            with platform.hanging("embed"):
                until(lambda: _upload(platform, http, 9).status_code == 504, "an upload given up")
            until(lambda: _upload(platform, http, 9).status_code == 200, "an upload answered")
    fine(product)
    fine(known)


def test_the_search_service_dies(platform: Platform) -> None:
    with httpx.Client(base_url=platform.url, timeout=30) as http:
        with load(platform, _product, _known, _upload) as seen:
            time.sleep(1)
            platform.kill("search")
            until(lambda: http.get("/readyz").status_code == 503, "not ready")
            for ask in (_product, _known, _upload):
                until(lambda ask=ask: ask(platform, http, 9).status_code == 503, "a search refused")
            assert http.get("/healthz").status_code == 200
            platform.start("search")
            for ask in (_product, _known, _upload):
                until(lambda ask=ask: ask(platform, http, 9).status_code == 200, "a search answered")
    for each in seen:
        assert each.wrong == []
        assert set(each.statuses) <= {200, 503}


def test_the_front_dies(platform: Platform) -> None:
    platform.kill("api")
    with pytest.raises(httpx.ConnectError), httpx.Client(base_url=platform.url) as http:
        http.get("/healthz")
    platform.start("api")
    until(platform.is_ready, "ready")
    with httpx.Client(base_url=platform.url, timeout=30) as http:
        assert _product(platform, http).status_code == 200
