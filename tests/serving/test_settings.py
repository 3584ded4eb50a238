import pytest

from serving.errors import BadSettings
from serving.settings import read_settings


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGSEARCH_MAX_K", "7")
    monkeypatch.setenv("IMGSEARCH_FETCH_ALLOW_HOSTS", '["127.0.0.1:80"]')
    settings = read_settings()
    assert settings.max_k == 7
    assert settings.fetch_allow_hosts == frozenset({"127.0.0.1:80"})


def test_every_wrong_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGSEARCH_MAX_K", "0")
    monkeypatch.setenv("IMGSEARCH_ENVIRONMENT", "moon")
    with pytest.raises(BadSettings) as error:
        read_settings()
    assert error.value.message == (
        "IMGSEARCH_ENVIRONMENT: Input should be 'local', 'staging' or 'production'; "
        "IMGSEARCH_MAX_K: Input should be greater than or equal to 1"
    )


def test_hosts_may_be_allowed_only_locally() -> None:
    with pytest.raises(
        BadSettings, match="IMGSEARCH_FETCH_ALLOW_HOSTS is for the local environment only; unset it"
    ):
        read_settings(environment="production", fetch_allow_hosts=frozenset({"10.0.0.1:80"}))


def test_milvus_needs_an_address() -> None:
    with pytest.raises(
        BadSettings, match="IMGSEARCH_MILVUS_URI must be set where IMGSEARCH_SEARCH_BACKEND is milvus"
    ):
        read_settings(search_backend="milvus")
    assert read_settings().search_backend == "memory"


def test_secrets_are_not_shown() -> None:
    assert "hunter2" not in repr(read_settings(redis_url="redis://:hunter2@localhost"))
    assert "hunter2" not in repr(read_settings(milvus_uri="http://a:hunter2@b", milvus_token="a:hunter2"))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("OTLP_ENDPOINT", "collector:4318", "URL scheme should be 'http' or 'https'"),
        ("TRACE_SHARE", "1.5", "Input should be less than or equal to 1"),
        ("SEARCH_ADDRESS", "search", r"String should match pattern '^\S+:\d{1,5}$'"),
    ],
)
def test_what_is_no_address_and_no_share_is_said(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"IMGSEARCH_{key}", value)
    with pytest.raises(BadSettings) as error:
        read_settings()
    assert error.value.message == f"IMGSEARCH_{key}: {said}"
