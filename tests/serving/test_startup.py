import logging
import socket
from pathlib import Path
from typing import Any

import pytest

from imgsearch_assets.local.processes import free_port
from imgsearch_assets.models.shipped import register_detector
from serving import startup
from serving.errors import BadSettings
from serving.location import Bucket
from serving.models.live import live_version
from serving.object_store import LocalObjectStore
from serving.settings import Settings
from tests.gcs_process import BUCKET, EMULATOR, GcsProcess


def missing(service: Any, settings: Settings, port: int = 0) -> list[str]:
    with pytest.raises(BadSettings) as error:
        startup.check(service, settings, port)
    return error.value.message.splitlines()


def test_a_model_that_is_missing_and_a_port_that_is_taken_are_said_together(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert missing("embed", Settings(home=tmp_path), port) == [
            "no model named 'embedder' is registered in this object store",
            f"cannot listen on 127.0.0.1:{port}: Address already in use",
        ]


def test_a_model_without_its_weights_is_said(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path / "objects")
    register_detector(store)
    startup.check("detect", Settings(home=tmp_path), 0)
    weights = f"models/detector/{live_version(store, 'detector')}/weights.safetensors"
    store.delete(weights)
    assert missing("detect", Settings(home=tmp_path)) == [f"there is no object {weights}"]


def test_a_card_that_was_changed_is_said(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path / "objects")
    register_detector(store)
    card = f"models/detector/{live_version(store, 'detector')}/bundle.json"
    store.put(card, b"{}")
    assert missing("detect", Settings(home=tmp_path)) == [f"{card} does not hash to its version"]


@pytest.mark.parametrize("service", ["api", "search"])
def test_an_address_of_redis_that_is_none_is_said_without_it(
    service: startup.Service, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, redis_url="hunter2")  # type: ignore[arg-type]
    assert missing(service, settings) == [
        "IMGSEARCH_REDIS_URL is none; one looks like redis://:PASSWORD@HOST:PORT/0"
    ]


def test_what_a_closed_front_lacks_is_said_together(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.pem"
    settings = Settings(home=tmp_path, environment="staging", https_certificate=nowhere, https_key=nowhere)
    assert missing("api", settings) == [
        f"IMGSEARCH_HTTPS_CERTIFICATE cannot be read: {nowhere}: No such file or directory",
        "IMGSEARCH_SERVICE_KEY must be set in staging; `imgsearch keys create --scope search` makes one",
    ]
    settings = Settings(home=tmp_path, environment="staging", tls_certificate=nowhere, tls_key=nowhere)
    assert missing("search", settings) == [
        f"IMGSEARCH_TLS_CERTIFICATE cannot be read: {nowhere}: No such file or directory"
    ]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert missing("api", Settings(home=tmp_path, admin_port=port)) == [
            f"cannot listen on 127.0.0.1:{port} for admin calls: Address already in use"
        ]


@pytest.mark.parametrize("service", ["search", "detect"])
def test_a_home_that_is_not_there_is_not_made(tmp_path: Path, service: startup.Service) -> None:
    away = tmp_path / "no-such"
    with pytest.raises(BadSettings, match=f"IMGSEARCH_HOME: there is no folder {away}; name the install"):
        startup.check(service, Settings(home=away), free_port())
    assert not away.exists()


def test_a_bucket_that_is_not_there(tmp_path: Path, gcs: GcsProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EMULATOR, gcs.url)
    settings = Settings(home=tmp_path / "home", objects=Bucket("no-such-bucket", "shop"))
    assert missing("search", settings) == [
        "IMGSEARCH_OBJECTS is gs://no-such-bucket/shop: there is no bucket no-such-bucket; name one that is "
        "there, or make it: `gcloud storage buckets create gs://no-such-bucket --uniform-bucket-level-access`"
    ]
    startup.check("search", Settings(home=tmp_path / "home", objects=Bucket(BUCKET)), 0)


def test_a_search_service_starts_with_nothing(tmp_path: Path) -> None:
    startup.check("search", Settings(home=tmp_path), 0, free_port())


def test_who_is_there_is_not_waited_for(
    tmp_path: Path, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with socket.create_server(("127.0.0.1", 0)) as one:
        there = f"dns:///127.0.0.1:{one.getsockname()[1]}"
        settings = Settings(
            home=tmp_path,
            redis_url=redis_url,  # type: ignore[arg-type]
            search_address=there,
            detect_address=f"ipv4:{nobody},127.0.0.1:{one.getsockname()[1]}",
            embed_address=nobody,
        )
        with caplog.at_level(logging.INFO, "serving.startup"):
            startup.check("api", settings, 0)
    assert [record.getMessage() for record in caplog.records] == [
        f"the embed service does not answer at {nobody} yet; this process waits for it"
    ]
