import pytest

from serving.errors import BadSettings
from serving.settings import Settings, read_settings

ADDRESS = "Value error, HOST:PORT is wanted, or gRPC's list of IP addresses; a port is 1 to 65535"


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


def test_a_list_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGSEARCH_FETCH_ALLOW_HOSTS", "[127.0.0.1:8090]")
    with pytest.raises(BadSettings) as error:
        read_settings()
    assert str(error.value) == 'IMGSEARCH_FETCH_ALLOW_HOSTS is no list in JSON, as ["A", "B"]'


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


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        ({}, True),
        ({"open": False}, False),
        ({"open": True}, True),
        ({"environment": "staging"}, False),
        ({"environment": "production", "open": False}, False),
    ],
)
def test_open_by_default_and_only_locally(overrides: dict, wanted: bool) -> None:
    assert read_settings(**overrides).is_open is wanted


@pytest.mark.parametrize(
    "address", ["search:50051", "dns:///search:50051", "[::1]:50051", "ipv4:10.0.0.1:50051,10.0.0.2:50051"]
)
def test_an_address_may_name_several(address: str) -> None:
    assert read_settings(search_address=address).search_address == address


def test_what_a_list_is_certified_as_must_be_said() -> None:
    encrypted = {"embed_address": "ipv4:10.0.0.1:50053,10.0.0.2:50053", "tls_ca": "ca.pem"}
    with pytest.raises(BadSettings) as error:
        read_settings(**encrypted)
    assert error.value.message == (
        "IMGSEARCH_TLS_SERVER_NAME must be set where IMGSEARCH_EMBED_ADDRESS is a list: it has no host that "
        "certificates could name"
    )
    assert read_settings(**encrypted, tls_server_name="embed.internal").embed_address.startswith("ipv4:")


def test_nothing_but_local_can_be_open() -> None:
    with pytest.raises(BadSettings, match="IMGSEARCH_OPEN is for the local environment only; unset it"):
        read_settings(environment="staging", open=True)
    assert not Settings(environment="staging", open=True).is_open


@pytest.mark.parametrize(
    ("given", "lacking"),
    [
        ("tls_certificate", "tls_key"),
        ("tls_key", "tls_certificate"),
        ("tls_client_ca", "tls_certificate"),
        ("tls_client_certificate", "tls_client_key"),
        ("tls_client_key", "tls_client_certificate"),
        ("tls_server_name", "tls_ca"),
        ("https_certificate", "https_key"),
        ("https_key", "https_certificate"),
    ],
)
def test_half_of_what_tls_takes_is_named(given: str, lacking: str) -> None:
    with pytest.raises(BadSettings) as error:
        read_settings(**{given: "x"})
    assert (
        error.value.message == f"IMGSEARCH_{lacking.upper()} must be set where IMGSEARCH_{given.upper()} is"
    )


def test_a_certificate_of_a_client_is_for_servers_that_are_known() -> None:
    with pytest.raises(
        BadSettings, match="IMGSEARCH_TLS_CA must be set where IMGSEARCH_TLS_CLIENT_CERTIFICATE is"
    ):
        read_settings(tls_client_certificate="x", tls_client_key="x")


def test_the_key_of_the_front_looks_like_one() -> None:
    with pytest.raises(
        BadSettings, match="IMGSEARCH_SERVICE_KEY is no API key; `imgsearch keys create` makes one"
    ):
        read_settings(service_key="hunter2")


def test_a_rate_is_a_number_and_a_time() -> None:
    with pytest.raises(
        BadSettings, match="IMGSEARCH_RATE: Value error, a rate is as in 10/second or 600/minute, or 0 for"
    ):
        read_settings(rate="fast")
    assert read_settings(rate="600/minute").rate == "600/minute"


def test_secrets_are_not_shown() -> None:
    assert "0" * 64 not in repr(read_settings(service_key=f"imgs_0123456789ab_{'0' * 64}"))
    assert "hunter2" not in repr(read_settings(redis_url="redis://:hunter2@localhost"))
    assert "hunter2" not in repr(read_settings(milvus_uri="http://a:hunter2@b", milvus_token="a:hunter2"))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("OTLP_ENDPOINT", "collector:4318", "URL scheme should be 'http' or 'https'"),
        ("TRACE_SHARE", "1.5", "Input should be less than or equal to 1"),
        ("SEARCH_ADDRESS", "search", ADDRESS),
        ("SEARCH_ADDRESS", "10.0.0.1:50051,10.0.0.2:50051", ADDRESS),
        ("SEARCH_ADDRESS", "search:99999", ADDRESS),
        ("SEARCH_ADDRESS", "search:0", ADDRESS),
        ("SEARCH_ADDRESS", "ipv4:10.0.0.1:99999,10.0.0.2:50051", ADDRESS),
        ("REQUEST_TIMEOUT_S", "inf", "Input should be a finite number"),
    ],
)
def test_what_is_no_address_and_no_share_is_said(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"IMGSEARCH_{key}", value)
    with pytest.raises(BadSettings) as error:
        read_settings()
    assert error.value.message == f"IMGSEARCH_{key}: {said}"
