"""What the pipeline is told."""

from pathlib import Path

import pytest

from imgsearch_assets.environment import read_environment
from imgsearch_assets.index.duplicates import Alike
from imgsearch_assets.trial.witnesses import Witnesses
from serving.errors import BadSettings
from serving.identity.keys import made


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CATALOGUE", "REDIS_URL", "ENVIRONMENT", "HOME", "FETCH_ALLOW_HOSTS"):
        monkeypatch.delenv(f"IMGSEARCH_{name}", raising=False)


def test_what_is_missing_is_named_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = read_environment()
    with pytest.raises(BadSettings) as refused:
        _ = environment.catalogue
    assert str(refused.value) == ("IMGSEARCH_CATALOGUE is not set; name a .duckdb, .parquet or .csv file")
    with pytest.raises(BadSettings, match="IMGSEARCH_REDIS_URL is not set; features and stock need a Redis"):
        _ = environment.feature_store
    monkeypatch.setenv("IMGSEARCH_CATALOGUE", "c.csv")
    assert read_environment().catalogue == "c.csv"


def test_half_a_configuration_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGSEARCH_ENVIRONMENT", "production")
    with pytest.raises(
        BadSettings, match=r"^IMGSEARCH_CATALOGUE and IMGSEARCH_REDIS_URL must be set in production$"
    ):
        read_environment()
    monkeypatch.setenv("IMGSEARCH_CATALOGUE", "c.csv")
    with pytest.raises(BadSettings, match=r"^IMGSEARCH_REDIS_URL must be set in production$"):
        read_environment()


def test_wrong_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGSEARCH_DOWNLOAD_PER_HOST", "0")
    with pytest.raises(BadSettings, match=r"IMGSEARCH_DOWNLOAD_PER_HOST: .* greater than or equal to 1"):
        read_environment()


@pytest.mark.parametrize(
    "key",
    [
        "RELEASE_DEADLINE_S",
        "DOWNLOAD_TIMEOUT_S",
        "DOWNLOAD_DELAY_S",
        "NEW_TO_SEARCHABLE_S",
        "BIGQUERY_DEADLINE_S",
    ],
)
def test_no_time_is_without_an_end(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv(f"IMGSEARCH_{key}", "inf")
    with pytest.raises(BadSettings) as refused:
        read_environment()
    assert str(refused.value) == f"IMGSEARCH_{key}: Input should be a finite number"


def test_what_names_nothing_is_found_at_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMGSEARCH_REPLAY_QUERIES", str(tmp_path / "queries.txt"))
    monkeypatch.setenv("IMGSEARCH_STAGING_SEARCH_ADDRESS", "search:99999")
    with pytest.raises(BadSettings) as refused:
        read_environment()
    assert str(refused.value) == (
        "IMGSEARCH_STAGING_SEARCH_ADDRESS: Value error, HOST:PORT is wanted, or gRPC's list of IP addresses; "
        "a port is 1 to 65535; IMGSEARCH_REPLAY_QUERIES: Path does not point to a file"
    )


@pytest.mark.parametrize("url", ["ftp://shop/secret-word", "secret-word", ""])
def test_an_address_for_alerts_is_http_and_is_never_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("IMGSEARCH_ALERT_WEBHOOK", url)
    with pytest.raises(BadSettings) as refused:
        read_environment()
    assert str(refused.value) == "IMGSEARCH_ALERT_WEBHOOK: Value error, an http(s) URL is wanted"
    monkeypatch.setenv("IMGSEARCH_ALERT_WEBHOOK", "https://hooks.example/secret-word")
    environment = read_environment()
    assert environment.notifier.targets == ("log", "webhook")
    assert "secret-word" not in repr(environment)


def test_a_release_moves_the_pointer_of_the_machine_or_of_staging(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_environment().pointer == "local"
    monkeypatch.setenv("IMGSEARCH_CATALOGUE", "c.csv")
    monkeypatch.setenv("IMGSEARCH_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("IMGSEARCH_ENVIRONMENT", "production")
    assert read_environment().pointer == "staging"


def test_who_verifies_a_release_follows_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_environment().witnesses("local") == Witnesses()
    key, told = made("pipeline", ["search"], 0.0)
    settings = {
        "STAGING_SEARCH_ADDRESS": "dns:///search:50051",
        "PRODUCTION_SEARCH_ADDRESS": "ipv4:10.0.0.1:50051,10.0.0.2:50051",
        "PRODUCTION_API_URL": "https://shop.example/search",
        "PRODUCTION_KEY": told,
        "RELEASE_DEADLINE_S": "60",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"IMGSEARCH_{name}", value)
    environment = read_environment()
    assert environment.witnesses("local") == Witnesses("dns:///search:50051", deadline_s=60)
    production = environment.witnesses("production")
    assert production.search_address == settings["PRODUCTION_SEARCH_ADDRESS"]
    assert (production.api_url, production.caller.key) == ("https://shop.example/search", told)
    assert told not in repr(production) + repr(environment)
    assert environment.witnesses("canary") == Witnesses()
    assert key.name == "pipeline"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"STAGING_API_URL": "http://shop"},
            "IMGSEARCH_STAGING_SEARCH_ADDRESS must be set where IMGSEARCH_STAGING_API_URL is",
        ),
        (
            {"PRODUCTION_KEY": "secret"},
            "IMGSEARCH_PRODUCTION_SEARCH_ADDRESS must be set where IMGSEARCH_PRODUCTION_KEY is",
        ),
        (
            {"PRODUCTION_KEY": "secret", "PRODUCTION_SEARCH_ADDRESS": "search:50051"},
            "IMGSEARCH_PRODUCTION_KEY is no API key; `imgsearch keys create` makes one",
        ),
        (
            {"PRODUCTION_RELEASE": "automatic", "PRODUCTION_SEARCH_ADDRESS": "search:50051"},
            "IMGSEARCH_PRODUCTION_API_URL must be set where IMGSEARCH_PRODUCTION_RELEASE is automatic",
        ),
    ],
)
def test_half_a_verification_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"IMGSEARCH_{name}", value)
    with pytest.raises(BadSettings) as refused:
        read_environment()
    assert str(refused.value) == said


def test_limits_follow_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMGSEARCH_HOME", str(tmp_path))
    monkeypatch.setenv("IMGSEARCH_MAX_PICTURE_BYTES", "1000")
    monkeypatch.setenv("IMGSEARCH_FETCH_ALLOW_HOSTS", '["127.0.0.1:8090"]')
    environment = read_environment(download_per_host=3, download_delay_s=0.5)
    assert environment.limits.max_bytes == 1000
    assert environment.limits.allow_hosts == {"127.0.0.1:8090"}
    assert (environment.politeness.concurrency, environment.politeness.min_delay_s) == (3, 0.5)
    environment.store.put("a", b"1")
    assert (tmp_path / "objects" / "a").read_bytes() == b"1"


def test_likeness_follows_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_environment().alike == Alike()
    monkeypatch.setenv("IMGSEARCH_SAME_PICTURE_COSINE", "0.99")
    monkeypatch.setenv("IMGSEARCH_VARIANT_COSINE", "0.9")
    assert read_environment().alike == Alike(picture=0.99, variant=0.9)
    monkeypatch.setenv("IMGSEARCH_VARIANT_COSINE", "1.1")
    with pytest.raises(BadSettings, match=r"IMGSEARCH_VARIANT_COSINE: .* less than or equal to 1"):
        read_environment()
