"""What a serving process can be told, read once from ``IMGSEARCH_*`` variables.

Frozen and typed; a wrong value or half a configuration raises ``BadSettings`` that names the key.
``docs/settings.md`` lists every field; a test holds the two together.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, AnyHttpUrl, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from serving.errors import BadSettings
from serving.identity.keys import Rate, is_key
from serving.index.collapse import Collapse
from serving.location import Location

# The environments that there are. A name that is none would have a pointer of its own, which nobody follows.
Place = Literal["local", "staging", "production"]
# A list is gRPC's own, of IP addresses alone.
_ADDRESS = re.compile(r"(ipv[46]:\S+|[^\s,]+):[0-9]{1,5}")


def _address(text: str) -> str:
    ports = map(int, re.findall(r":([0-9]+)(?=,|$)", text))
    if not _ADDRESS.fullmatch(text) or not all(1 <= port <= 65535 for port in ports):
        raise ValueError("HOST:PORT is wanted, or gRPC's list of IP addresses; a port is 1 to 65535")
    return text


Address = Annotated[str, AfterValidator(_address)]


class EngineSettings(BaseSettings):
    """How every process, the pipeline's too, runs its networks."""

    model_config = SettingsConfigDict(
        env_prefix="IMGSEARCH_", frozen=True, extra="ignore", allow_inf_nan=False
    )

    engine: Literal["auto", "torch", "openvino"] = Field(
        "auto",
        description="What runs the networks on a CPU: `auto` and `openvino` are OpenVINO, where it can.",
    )
    precision: Literal["auto", "float32", "reduced"] = Field(
        "auto",
        description="Numbers inside the networks: `reduced` is float16 where the processor has it; "
        "`auto` is reduced on a GPU, float32 on a CPU.",
    )


class Settings(EngineSettings):
    """Settings of the search platform. The pipeline's own are in ``imgsearch_assets.environment``."""

    model_config = SettingsConfigDict(env_prefix="IMGSEARCH_", frozen=True, extra="ignore")

    environment: Place = Field(
        "local", description="Whose pointer is followed; `local` alone may fetch from allowed hosts."
    )
    home: Path = Field(Path(".imgsearch"), description="Folder of everything this installation keeps.")
    objects: Location | None = Field(
        None,
        description="Where the object store is: a folder, by default `objects` in IMGSEARCH_HOME, or "
        "gs://BUCKET/PREFIX (`cloud.md`).",
    )
    cache_bytes: int = Field(
        20 * 2**30,
        ge=2**20,
        description="Of a bucket: most bytes of its objects that are kept as files, in `cache` in "
        "IMGSEARCH_HOME.",
    )
    redis_url: SecretStr | None = Field(
        None,
        description="Features, answers and stock; without it features are computed anew, and the stock is "
        "that of the index.",
    )
    redis_timeout_s: float = Field(0.05, gt=0, le=5, description="Past it the feature store counts as empty.")
    stock_poll_s: float = Field(
        0.5,
        gt=0,
        le=1,
        description="How often the stock feed looks at the catalogue, and the search service at the stock.",
    )
    result_ttl_s: int = Field(
        60, ge=0, le=86_400, description="How long an answer is kept for who asks the same; 0 for not at all."
    )

    host: str = Field("127.0.0.1", description="Address every server of this process listens on.")
    search_address: Address = Field(
        "127.0.0.1:50051",
        description="host:port of the search service. Of several replicas: `dns:///name:port` where the name "
        "has all their addresses, or `ipv4:host:port,host:port`; each call goes to one that serves.",
    )
    detect_address: Address = Field("127.0.0.1:50052", description="The same of the detect service.")
    embed_address: Address = Field("127.0.0.1:50053", description="The same of the embed service.")
    api_port: int = Field(8080, ge=0, le=65535, description="Port of the HTTP API and the page.")

    open: bool | None = Field(
        None,
        description="Whether anybody may ask without an API key: by default, and only, where the environment "
        "is `local`.",
    )
    service_key: SecretStr | None = Field(
        None, description="The front's own API key (scope `search`), which it shows to the services."
    )
    rate: Rate = Field(
        "0",
        description="What an API key may ask: `10/second`, `600/minute`; `0` for no limit. A key's own wins.",
    )
    admin_port: int | None = Field(
        None, ge=1, le=65535, description="Port of the api process for admin calls; none without it."
    )

    tls_certificate: Path | None = Field(
        None, description="PEM chain of the gRPC servers; then they speak TLS."
    )
    tls_key: Path | None = Field(None, description="PEM private key of that certificate.")
    tls_client_ca: Path | None = Field(
        None, description="PEM of who signs the clients of the gRPC servers; then others cannot connect."
    )
    tls_ca: Path | None = Field(
        None, description="PEM of who signs the gRPC servers; then the front speaks TLS to them."
    )
    tls_client_certificate: Path | None = Field(None, description="PEM chain the front shows to them.")
    tls_client_key: Path | None = Field(None, description="PEM private key of that certificate.")
    tls_server_name: str | None = Field(
        None, description="The name in their certificates, where it is not the host of their address."
    )
    https_certificate: Path | None = Field(
        None, description="PEM chain of the api process; then it, admin calls included, speaks HTTPS."
    )
    https_key: Path | None = Field(None, description="PEM private key of that certificate.")

    max_picture_bytes: int = Field(10 * 2**20, gt=0, description="Largest picture, as bytes.")
    max_picture_pixels: int = Field(
        40_000_000,
        gt=0,
        description="Largest picture, as width x height; a PNG has at most 24, a WebP 13 million.",
    )
    max_text_chars: int = Field(200, ge=1, description="Longest text of a search, in characters.")
    max_k: int = Field(100, ge=1, le=1000, description="Most products in one answer, and ids in one look-up.")
    max_depth: int = Field(
        1000, ge=1, le=1000, description="Most products that the pages of one search show together."
    )
    collapse: Collapse = Field(
        "picture",
        description="What an answer shows once unless the search says otherwise: `product`, `variant` "
        "(one design in its colours) or `picture` (products of one picture).",
    )
    max_filter_values: int = Field(100, ge=1, description="Most values in one list of a filter.")
    max_batch: int = Field(
        64, ge=1, description="Most pictures, crops or queries in one call, and vectors in one query."
    )
    max_message_bytes: int = Field(32 * 2**20, gt=0, description="Largest gRPC request.")
    max_concurrency: int = Field(64, ge=1, description="Calls in work at once; more are refused at once.")
    max_searches: int = Field(
        256,
        ge=1,
        description="The same of a search service that searches in memory, where a call is over sooner.",
    )
    search_target_s: float = Field(
        0.3,
        gt=0,
        description="While it takes the front longer to have a picture looked at, fewer are let in at once.",
    )
    request_timeout_s: float = Field(10.0, gt=0, description="Deadline of a call that brings none.")
    drain_pause_s: float = Field(
        1.0,
        ge=0,
        le=300,
        description="How long a server that was told to stop still takes new calls; with 0 its callers, who "
        "have no time to notice, see errors.",
    )
    fetch_timeout_s: float = Field(5.0, gt=0, description="Whole time to fetch a picture by URL.")
    max_fetches: int = Field(
        16,
        ge=1,
        description="Pictures that the front fetches at once; a slow host holds up others of its kind alone.",
    )
    fetch_allow_hosts: frozenset[str] = Field(
        frozenset(), description="host:port that may be fetched though not global; local environment only."
    )
    poll_interval_s: float = Field(
        1.0, gt=0, description="How often the search service looks at the pointer."
    )
    torch_threads: int = Field(1, ge=1, description="Threads of one model call.")
    model_batch: int = Field(
        0,
        ge=0,
        le=1024,
        description="Most pictures, of all calls, in one forward pass of the detect and embed services; "
        "0 for what suits the device: 4 on a CPU, on a GPU what its memory has room for, at most 64.",
    )
    model_wait_ms: float = Field(
        0.0,
        ge=0,
        le=1000,
        description="How long a pass that is not full waits for more pictures while others are in work.",
    )
    model_queue: int = Field(
        128,
        ge=1,
        description="Pictures in work at once, of all calls; a call that comes on top of others is refused.",
    )

    search_backend: Literal["memory", "milvus"] = Field(
        "memory",
        description="What holds the index: this process's own `memory`, or a `milvus` elsewhere.",
    )
    milvus_uri: SecretStr | None = Field(
        None,
        description="Of `milvus`: http(s)://host:port, or a file *.db (milvus-lite, of one process alone).",
    )
    milvus_token: SecretStr | None = Field(None, description="Of `milvus`: token, or user:password.")
    milvus_timeout_s: float = Field(2.0, gt=0, le=60, description="Deadline of one call to Milvus.")

    otlp_endpoint: AnyHttpUrl | None = Field(
        None, description="http(s)://host:port that takes traces (OTLP over HTTP); without it there are none."
    )
    trace_share: float = Field(
        0.1, ge=0, le=1, description="Share of the requests that are traced, whatever their callers ask for."
    )
    sentry_dsn: SecretStr | None = Field(
        None,
        description="Where unexpected errors are sent, as Sentry names it; without it they are logged only.",
    )

    @property
    def is_open(self) -> bool:
        """Whether anybody may ask without an API key."""
        return self.environment == "local" and self.open is not False


# What has no meaning without another.
_NEEDS = (
    ("tls_certificate", "tls_key"),
    ("tls_key", "tls_certificate"),
    ("tls_client_ca", "tls_certificate"),
    ("tls_client_certificate", "tls_client_key"),
    ("tls_client_key", "tls_client_certificate"),
    ("tls_client_certificate", "tls_ca"),
    ("tls_server_name", "tls_ca"),
    ("https_certificate", "https_key"),
    ("https_key", "https_certificate"),
)


S = TypeVar("S", bound=BaseSettings)


def read(settings: type[S], **overrides: Any) -> S:
    """Settings of one class from the environment. Raises ``BadSettings`` naming every wrong key."""
    prefix = settings.model_config.get("env_prefix", "")
    try:
        return settings(**overrides)
    except SettingsError as error:  # of a list, which it does not hand to the validators
        name = re.findall('field "(.+?)"', str(error))
        raise BadSettings(f'{prefix}{"".join(name).upper()} is no list in JSON, as ["A", "B"]') from None
    except ValidationError as error:
        wrong = (
            f"{prefix}{'_'.join(map(str, item['loc'])).upper()}: {item['msg']}" for item in error.errors()
        )
        raise BadSettings("; ".join(wrong)) from None


def read_settings(**overrides: object) -> Settings:
    """The process's settings. Raises ``BadSettings``, also where two contradict each other."""
    settings = read(Settings, **overrides)
    if settings.fetch_allow_hosts and settings.environment != "local":
        raise BadSettings("IMGSEARCH_FETCH_ALLOW_HOSTS is for the local environment only; unset it")
    if settings.open and settings.environment != "local":
        raise BadSettings("IMGSEARCH_OPEN is for the local environment only; unset it")
    if settings.service_key is not None and not is_key(settings.service_key.get_secret_value()):
        raise BadSettings("IMGSEARCH_SERVICE_KEY is no API key; `imgsearch keys create` makes one")
    for name, needed in _NEEDS:
        if getattr(settings, name) is not None and getattr(settings, needed) is None:
            raise BadSettings(f"IMGSEARCH_{needed.upper()} must be set where IMGSEARCH_{name.upper()} is")
    if settings.tls_ca is not None and settings.tls_server_name is None:
        for name in ("search_address", "detect_address", "embed_address"):
            if "," in getattr(settings, name):
                raise BadSettings(
                    f"IMGSEARCH_TLS_SERVER_NAME must be set where IMGSEARCH_{name.upper()} is a list: it has "
                    "no host that certificates could name"
                )
    if settings.search_backend == "milvus" and settings.milvus_uri is None:
        raise BadSettings("IMGSEARCH_MILVUS_URI must be set where IMGSEARCH_SEARCH_BACKEND is milvus")
    if settings.sentry_dsn is not None:
        _check_dsn(settings.sentry_dsn.get_secret_value())
    return settings


def _check_dsn(dsn: str) -> None:
    from sentry_sdk.utils import BadDsn, Dsn  # not of every process that reads settings

    try:
        Dsn(dsn)
    except BadDsn:
        raise BadSettings("IMGSEARCH_SENTRY_DSN is none; one looks like https://KEY@HOST/PROJECT") from None
