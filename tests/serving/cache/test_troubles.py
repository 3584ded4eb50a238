"""A Redis with TLS and AUTH, as Memorystore has it: ours speaks with it, or says what to mend."""

import asyncio
import gc
import logging
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from serving import startup
from serving.cache.features import CachedFeatures, FeatureStore, url_key
from serving.cache.pool import pool_of
from serving.cache.stock_log import StockLog
from serving.cache.troubles import wrong
from serving.errors import BadSettings, RateLimited, Unavailable
from serving.identity.keys import made
from serving.identity.rates import Rates
from serving.images.box import Box
from serving.index.store import point, read_pointer
from serving.settings import Settings
from tests.certificates import Files
from tests.redis_process import SecureRedis
from tests.running import until
from tests.secure_redis import PASSWORD, PLAIN, REFUSED, URL, secure_redis, urls
from tests.serving.processes import Start, stopped

FEATURES = CachedFeatures((Box.whole(),), np.array([[0.6, 0.8]], np.float32))
VALUES = {url_key("e", "http://shop/a.jpg"): FEATURES.to_bytes()}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureRedis]:
    with secure_redis(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture(scope="module")
def wrong_urls(server: SecureRedis, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return urls(server, tmp_path_factory.mktemp("strange"))


async def test_everything_goes_by_tls_and_with_a_password(server: SecureRedis) -> None:
    store = FeatureStore(server.url, timeout_s=5.0)
    store.put_many(VALUES)
    assert store.differing(VALUES) == []
    found = await store.get_url("e", "http://shop/a.jpg")
    assert found is not None
    assert np.allclose(found.vectors, FEATURES.vectors, atol=1e-3)
    await store.put_url("e", "http://shop/b.jpg", FEATURES)
    assert await store.get_url("e", "http://shop/b.jpg") is not None
    await store.aclose()

    log = StockLog(server.url, "local", 5.0)
    version = log.write_whole(None, {"a": 1, "b": 0})
    assert version is not None
    assert log.write(version, {"b": 1}) is not None
    known = log.whole()
    assert known is not None
    assert dict(zip(known.all()[0].to_pylist(), known.all()[1].tolist(), strict=True)) == {"a": 1, "b": 1}
    log.close()


async def test_rates_are_counted_there(server: SecureRedis, caplog: pytest.LogCaptureFixture) -> None:
    asked = made("app", ["search"], 0.0)[0]
    settings = Settings(redis_url=SecretStr(server.url), redis_timeout_s=5.0, rate="3/minute")
    one, other = Rates(settings), Rates(settings)
    await one.count(asked)
    await one.count(asked)
    await other.count(asked)
    with pytest.raises(RateLimited):
        await other.count(asked)
    await one.aclose()
    await other.aclose()
    assert caplog.messages == []


def test_connections_share_what_they_trust(server: SecureRedis) -> None:
    pool = pool_of(server.url, 0.05, 8)
    one, other = pool.make_connection(), pool.make_connection()
    assert one.ssl_context.get() is other.ssl_context.get()
    assert one.ssl_context.get().verify_mode is ssl.CERT_REQUIRED
    assert one.ssl_context.get().check_hostname


async def test_many_at_once_come_through_in_the_end(server: SecureRedis) -> None:
    """Handshakes take their time: who comes first has a connection, and the next finds it."""
    store = FeatureStore(server.url, timeout_s=0.5)
    store.put_many(VALUES)
    found: list[CachedFeatures | None] = [None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of handshakes that were given up
        while None in found:
            store.values._away._until_s = 0.0  # rather than wait for it
            found = await asyncio.gather(*(store.get_url("e", "http://shop/a.jpg") for _ in range(64)))
        await store.aclose()
        gc.collect()


@pytest.mark.parametrize("case", [*REFUSED, "plain"])
async def test_what_is_refused_says_what_to_mend(
    case: str, wrong_urls: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    url, said = wrong_urls[case], REFUSED.get(case, PLAIN)
    store = FeatureStore(url, timeout_s=5.0)
    assert await store.get_url("e", "http://shop/a.jpg") is None, "without Redis, and no error"
    assert caplog.messages == [f"{said}; its part is done anew"]
    await store.aclose()
    log = StockLog(url, "local", 5.0)
    with pytest.raises(Unavailable) as stock:
        log.whole()
    log.close()
    assert stock.value.message == f"the stock in Redis cannot be reached: {said}"
    with pytest.raises(BadSettings if case in REFUSED else Unavailable) as pipeline:
        store.put_many(VALUES)
    assert said in pipeline.value.message
    told = (*caplog.messages, stock.value.message, pipeline.value.message)
    assert not [one for one in told if PASSWORD in one or "another" in one]


@pytest.mark.parametrize("case", [*REFUSED, "plain"])
def test_the_front_starts_without_it_and_says_so(
    case: str, wrong_urls: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(home=tmp_path, redis_url=SecretStr(wrong_urls[case]))
    with caplog.at_level(logging.WARNING, "serving.startup"):
        startup.check("api", settings, 0)
    said = [message for message in caplog.messages if "Redis" in message]
    assert said == [f"{REFUSED.get(case, PLAIN)}; until then everything is computed anew"]


async def test_it_is_asked_again_after_a_failover(
    server: SecureRedis, caplog: pytest.LogCaptureFixture
) -> None:
    store = FeatureStore(server.url, timeout_s=5.0)
    store.put_many(VALUES)
    assert await store.get_url("e", "http://shop/a.jpg") is not None
    server.kill()
    assert await store.get_url("e", "http://shop/a.jpg") is None
    with pytest.raises(Unavailable, match="the feature store does not answer: not all was written"):
        store.put_many(VALUES)
    server.start()  # with nothing in it
    store.values._away._until_s = 0.0  # rather than wait for it
    assert await store.get_url("e", "http://shop/a.jpg") is None
    assert len(caplog.messages) == 1, "what is not there is no failure"
    store.put_many(VALUES)
    assert await store.get_url("e", "http://shop/a.jpg") is not None
    await store.aclose()


async def test_a_password_that_changed_is_said(server: SecureRedis, caplog: pytest.LogCaptureFixture) -> None:
    store = FeatureStore(server.url, timeout_s=5.0)
    admin = StockLog(server.url, "local", 5.0)._client
    admin.config_set("requirepass", "the-next-one")
    assert await store.get_url("e", "http://shop/a.jpg") is None
    assert caplog.messages == [f"{REFUSED['wrong password']}; its part is done anew"]
    admin.config_set("requirepass", PASSWORD)
    admin.close()
    await store.aclose()


def test_a_file_that_holds_no_certificate_is_named(tmp_path: Path) -> None:
    Files(tmp_path, "redis")
    url = "rediss://:hunter2@redis:6378/0?ssl_ca_certs="
    assert wrong(f"{url}{tmp_path / 'redis-ca.pem'}") is None
    nowhere, empty = tmp_path / "nowhere.pem", tmp_path / "empty.pem"
    assert wrong(f"{url}{nowhere}") == (
        f"ssl_ca_certs of {URL} cannot be read: {nowhere}: No such file or directory"
    )
    empty.write_text("hello")
    assert wrong(f"{url}{empty}") == f"ssl_ca_certs of {URL} holds no certificate as PEM: {empty}"


@pytest.mark.parametrize("url", ["hunter2", "http://h:1/0", "rediss://:hunter2@h:6378/0?ssl_ca_cert=/a.pem"])
def test_what_is_no_url_is_said_without_it(url: str) -> None:
    assert wrong(url) == f"{URL} is none; one looks like redis://:PASSWORD@HOST:PORT/0"


@pytest.mark.parametrize("service", ["api", "search"])
def test_a_service_does_not_start_without_its_file(service: startup.Service, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.pem"
    settings = Settings(home=tmp_path, redis_url=SecretStr(f"rediss://:p@h:1/0?ssl_ca_certs={nowhere}"))
    with pytest.raises(BadSettings, match=f"ssl_ca_certs of {URL} cannot be read: {nowhere}: No such file"):
        startup.check(service, settings, 0)


def test_who_searches_does_not_notice(
    wrong_urls: dict[str, str], shop: Any, tmp_path: Path, start: Start
) -> None:
    """A front and a search service whose Redis refuses them."""
    manifest = shop.build()
    point(shop.store, "local", manifest, "test", "test", read_pointer(shop.store, "local"))
    environment = {URL: wrong_urls["wrong password"]}
    searching, search = start("search", **environment)
    process, address = start(
        "api", IMGSEARCH_SEARCH_ADDRESS=search, IMGSEARCH_DRAIN_PAUSE_S="0", **environment
    )
    with httpx.Client(base_url=f"http://{address}", timeout=30) as client:
        until(lambda: client.get("/readyz").status_code == 200, "the front is ready")
        for name in shop.ids[:5]:
            assert client.get(f"/v1/products/{name}/similar").status_code == 200
    logs = {name: tmp_path / f"{name}.log" for name in ("search", "api")}
    told = [line["message"] for line in stopped(process, logs["api"])]
    told += [line["message"] for line in stopped(searching, logs["search"])]
    said = REFUSED["wrong password"]
    assert f"{said}; until then everything is computed anew" in told
    stays = "the stock is not followed, what was known of it stays: the stock in Redis cannot be reached"
    assert told.count(f"{stays}: {said}") == 1, "once, and not at each look"
    assert not [log for log in logs.values() if ":another@" in log.read_text()]
