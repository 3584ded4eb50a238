"""Two search services, of which one is always there: nobody who searches notices that the other is not."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.running import ANOTHER_SEARCH, IDS, Platform, run_platform, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SEARCHES = ("search", ANOTHER_SEARCH)
# Of each kind of request. Posted searches, of which the front always takes four, are one kind.
PEOPLE = 3


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    environment = {
        "IMGSEARCH_RESULT_TTL_S": "0",  # else what is known is answered without the services
        "IMGSEARCH_DRAIN_PAUSE_S": "1",
    }
    with run_platform(tmp_path_factory.mktemp("platform") / "home", SEARCHES, **environment) as platform:
        for name in SEARCHES:
            _asked(platform, name)
        yield platform


def _similar(http: httpx.Client, number: int) -> httpx.Response:
    return http.get(f"/v1/products/{IDS[number % len(IDS)]}/similar", params={"k": 3 + number % 5})


def _posted(http: httpx.Client, number: int) -> httpx.Response:
    return http.post("/v1/search", json={"product_id": IDS[number % len(IDS)], "k": 3 + number % 5})


def _product(http: httpx.Client, number: int) -> httpx.Response:
    return http.get(f"/v1/products/{IDS[number % len(IDS)]}")


def _explained(http: httpx.Client, number: int) -> httpx.Response:
    return http.get(f"/v1/products/{IDS[number % len(IDS)]}/explain", params={"like": IDS[0]})


def _ready(http: httpx.Client, number: int) -> httpx.Response:
    return http.get("/readyz")


# Between them, every RPC that the front has for search services.
Ask = Callable[[httpx.Client, int], httpx.Response]
ASKED: tuple[Ask, ...] = (_similar, _posted, _product, _explained, _ready)


@contextmanager
def load(platform: Platform) -> Iterator[dict[str, Counter[str]]]:
    """People who ask for each of ``ASKED``, over and over, while the block runs; what each was answered."""
    found = {ask.__name__: Counter[str]() for ask in ASKED}
    stop, failed = threading.Event(), []

    def person(ask: Ask) -> None:
        number = 0
        try:
            with httpx.Client(base_url=platform.url, timeout=30) as http:
                while not stop.is_set():
                    reply = ask(http, number)
                    said = "well" if reply.status_code == 200 else f"{reply.status_code}: {reply.text}"
                    found[ask.__name__][said] += 1
                    number += 1
        except BaseException as error:
            failed.append(error)

    people = [threading.Thread(target=person, args=(ask,)) for ask in ASKED for _ in range(PEOPLE)]
    for thread in people:
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        for thread in people:
            thread.join()
    assert not failed


def _asked(platform: Platform, name: str) -> None:
    """Return when the front asks this one too."""
    with httpx.Client(base_url=platform.url, timeout=30) as http:

        def asked() -> bool:
            _ready(http, 0)
            return platform.answered(name) > 0

        until(asked, f"{name} asked")


@pytest.mark.parametrize("away", [Platform.end, Platform.kill], ids=["restarted", "dies"])
def test_one_after_the_other(platform: Platform, away: Callable[[Platform, str], None]) -> None:
    with load(platform) as seen:
        for name, other in (SEARCHES, SEARCHES[::-1]):
            before = platform.answered(name)
            until(lambda name=name, before=before: platform.answered(name) > before + 50, f"{name} busy")
            away(platform, name)
            before = platform.answered(other)
            until(lambda other=other, before=before: platform.answered(other) > before + 50, f"{other} busy")
            platform.start(name)
            _asked(platform, name)
    for answers in seen.values():
        assert set(answers) == {"well"}
