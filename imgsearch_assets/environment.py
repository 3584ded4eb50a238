"""Which environment this is, and what differs between them: the only file that knows."""

import shlex
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BeforeValidator,
    Field,
    FilePath,
    SecretStr,
    TypeAdapter,
    ValidationError,
)
from pydantic_settings import NoDecode, SettingsConfigDict

from imgsearch_assets.alerting.notifier import Notifier
from imgsearch_assets.catalogue.warehouse import Warehouse
from imgsearch_assets.gates.sanity import Bounds
from imgsearch_assets.graph.costs import EXAMPLE, Prices
from imgsearch_assets.images.download import Limits
from imgsearch_assets.images.politeness import Politeness
from imgsearch_assets.index.duplicates import Alike
from imgsearch_assets.messages import Inbox
from imgsearch_assets.trial.witnesses import Witnesses
from imgsearch_assets.warehouse.location import open_warehouse
from imgsearch_assets.warehouse.settings import WarehouseSettings
from serving.cache.features import FeatureStore
from serving.cache.stock_log import StockLog
from serving.errors import BadSettings
from serving.identity.keys import is_key
from serving.index import replays
from serving.index.generation import FACTORY, GRAPH
from serving.location import open_store
from serving.object_store import ObjectStore
from serving.redaction import Redaction
from serving.rpc.client import Caller
from serving.settings import Address, Settings, read, read_settings
from serving.tls import channel_credentials

# The environment that shoppers see; it gets what staging has.
PRODUCTION = "production"

Policy = Literal["approval", "automatic"]


def _webhook(url: SecretStr) -> SecretStr:
    try:
        TypeAdapter(AnyHttpUrl).validate_python(url.get_secret_value())
    except ValidationError:
        raise ValueError("an http(s) URL is wanted") from None
    return url


_Webhook = Annotated[SecretStr, AfterValidator(_webhook)]


class PipelineSettings(WarehouseSettings):
    """Settings of the pipeline alone; what it shares with the services is in ``serving.settings``."""

    model_config = SettingsConfigDict(
        env_prefix="IMGSEARCH_", frozen=True, extra="ignore", allow_inf_nan=False
    )

    catalogue: str | None = Field(
        None,
        description="FILE.duckdb, FILE.duckdb::TABLE, FILE.parquet, FILE.csv or "
        "bigquery:PROJECT.DATASET.TABLE (`cloud.md`).",
    )
    catalogue_poll_s: int = Field(5, ge=1, description="How often the catalogue is looked at for a change.")
    download_connections: int = Field(64, ge=1, description="Pictures in flight over all hosts.")
    download_per_host: int = Field(16, ge=1, description="Pictures in flight at one host.")
    download_delay_s: float = Field(0.0, ge=0, description="Least time between two requests to one host.")
    download_timeout_s: float = Field(20.0, gt=0, description="Whole time to fetch one picture.")
    index_factory: str = Field(
        GRAPH,
        pattern=FACTORY,
        description="What the base of an index is, as FAISS's factory says it: a graph; or lists of "
        "quantised vectors, `IVF4096,PQ64x4fs,Refine(SQfp16)`, for more vectors than fit into memory.",
    )
    keep_generations: int = Field(
        3,
        ge=1,
        description="Generations of the index that every environment can go back to; older ones are pruned.",
    )
    production_release: Policy = Field(
        "approval",
        description="Whether somebody starts the job `promote`, or production follows staging by itself.",
    )
    staging_search_address: Address | None = Field(
        None,
        description="Search services of staging (of one machine: its own), as IMGSEARCH_SEARCH_ADDRESS "
        "names them: a release stays when each replica serves it. Without it nobody is asked.",
    )
    staging_api_url: AnyHttpUrl | None = Field(
        None, description="Their public API, which golden queries are sent to after a release."
    )
    staging_key: SecretStr | None = Field(
        None, description="API key (scope `search`) of whoever verifies a release there."
    )
    production_search_address: Address | None = Field(
        None, description="As IMGSEARCH_STAGING_SEARCH_ADDRESS, of production."
    )
    production_api_url: AnyHttpUrl | None = Field(
        None, description="As IMGSEARCH_STAGING_API_URL, of production."
    )
    production_key: SecretStr | None = Field(None, description="As IMGSEARCH_STAGING_KEY, of production.")
    release_deadline_s: float = Field(
        300.0, gt=0, description="Until when every replica has to serve a release; else it goes back."
    )
    replay_min_overlap: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Least overlap@10 of the replay between what production has and what it would get.",
    )
    replay_queries: FilePath | None = Field(
        None, description="File with a product id a line, to be replayed beside the sample."
    )
    stock_max_lost: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Share of what is in stock that may leave at once; past it the stock feed writes nothing "
        "and says so, as the catalogue is more likely broken.",
    )
    prices: Annotated[Prices, NoDecode, BeforeValidator(Prices.read)] = Field(
        EXAMPLE,
        description="Money an hour for a machine of each class, by which runs are priced. The default is an "
        "example of the order of public list prices; set what you pay.",
    )
    gate_spare: int = Field(
        Bounds.spare,
        ge=0,
        description="So many products are never an absurd share: in a small shop a quiet day is a large one.",
    )
    gate_min_rows: float = Field(
        Bounds.min_rows,
        ge=0,
        le=1,
        description="Least size of a snapshot, against what is live: an export that broke off is refused "
        "before it costs anything.",
    )
    gate_max_rejected: float = Field(
        Bounds.max_rejected,
        ge=0,
        le=1,
        description="Share of rows that may break the contract: more, and a column has changed its meaning.",
    )
    gate_max_removed: float = Field(
        Bounds.max_removed,
        ge=0,
        le=1,
        description="Share of the live products that may go at once: more than a season's end, less than an "
        "export that lost a category.",
    )
    gate_max_changed: float = Field(
        Bounds.max_changed,
        ge=0,
        le=1,
        description="Share of the live products whose pictures or attributes may change at once; a sale that "
        "changes more prices is waived.",
    )
    gate_max_not_downloaded: float = Field(
        Bounds.max_not_downloaded,
        ge=0,
        le=1,
        description="Share of the pictures that may be lacking; more, and their host is down or has moved.",
    )
    gate_min_searchable: float = Field(
        Bounds.min_searchable,
        ge=0,
        le=1,
        description="Share of the products in stock that must be in the index; a product needs one good "
        "picture of several, so more is lacking than pictures can explain.",
    )
    new_to_searchable_s: float = Field(
        3600.0,
        gt=0,
        description="Of 100 new products 95 are searchable within this time, or a check of the ledger warns.",
    )
    sold_to_hidden_s: float = Field(
        3.0, gt=0, description="The same from when a product is sold out to when it is hidden."
    )
    same_picture_cosine: float = Field(
        Alike.picture,
        gt=0,
        le=1,
        description="From here on two products' pictures are one; 1 compares bytes.",
    )
    variant_cosine: float = Field(
        Alike.variant,
        gt=0,
        le=1,
        description="From here on products of one brand, category and name but for the colour are variants.",
    )
    alert_slack_webhook: _Webhook | None = Field(
        None, description="Slack's incoming webhook that gets every alert (`operations.md`); a secret."
    )
    alert_webhook: _Webhook | None = Field(
        None, description="http(s) URL that gets every alert as JSON (`operations.md`); a secret."
    )
    dagster_url: AnyHttpUrl | None = Field(
        None, description="Where people open the Dagster UI; alerts then link to the run."
    )
    admin_url: AnyHttpUrl | None = Field(
        None,
        description="Where people reach the front's IMGSEARCH_ADMIN_PORT; `release_replay` then links to its "
        "page, which a browser opens with an API key of scope `admin` as the password.",
    )
    runbook_url: AnyHttpUrl | None = Field(
        None,
        description="Where people read `operations.md`, as https://git.example/operations.md; alerts then "
        "link to what to do.",
    )


@dataclass(frozen=True)
class Environment:
    """What the assets are given to work with."""

    pipeline: PipelineSettings
    serving: Settings

    def __post_init__(self) -> None:
        """Raises ``BadSettings`` for half a configuration of who verifies releases."""
        told = self.pipeline
        for place in ("staging", "production"):
            for name in (f"{place}_api_url", f"{place}_key"):
                if getattr(told, name) is not None and getattr(told, f"{place}_search_address") is None:
                    raise BadSettings(
                        f"IMGSEARCH_{place.upper()}_SEARCH_ADDRESS must be set where "
                        f"IMGSEARCH_{name.upper()} is"
                    )
            key = getattr(told, f"{place}_key")
            if key is not None and not is_key(key.get_secret_value()):
                raise BadSettings(
                    f"IMGSEARCH_{place.upper()}_KEY is no API key; `imgsearch keys create` makes one"
                )
        if told.production_release == "automatic" and told.production_api_url is None:
            raise BadSettings(
                "IMGSEARCH_PRODUCTION_API_URL must be set where IMGSEARCH_PRODUCTION_RELEASE is automatic"
            )

    @property
    def catalogue(self) -> str:
        """Location of the catalogue. Raises ``BadSettings`` when none is set."""
        if self.pipeline.catalogue is None:
            raise BadSettings("IMGSEARCH_CATALOGUE is not set; name a .duckdb, .parquet or .csv file")
        return self.pipeline.catalogue

    @cached_property
    def warehouse(self) -> Warehouse:
        """Where the catalogue lies. Raises ``BadSettings`` when none is set."""
        return open_warehouse(self.catalogue, self.pipeline, self.serving.environment)

    @property
    def inbox(self) -> Inbox | None:
        """Who says that the catalogue was written. Raises ``BadSettings`` where the client lacks."""
        told = self.pipeline
        if told.pubsub_subscription is None:
            return None
        try:
            from imgsearch_assets.warehouse.pubsub import Subscription
        except ModuleNotFoundError as error:
            raise BadSettings(
                f"IMGSEARCH_PUBSUB_SUBSCRIPTION needs {error.name}; install imgsearch[gcp]"
            ) from error
        return Subscription(told.pubsub_subscription, told.pubsub_batch)

    @property
    def store(self) -> ObjectStore:
        return open_store(self.serving)

    @property
    def feature_store(self) -> FeatureStore:
        """Raises ``BadSettings`` when no Redis is set."""
        return FeatureStore(self._redis_url.get_secret_value(), self.serving.redis_timeout_s)

    @property
    def stock_log(self) -> StockLog:
        """Raises ``BadSettings`` when no Redis is set."""
        return StockLog(self._redis_url.get_secret_value(), self.serving.environment)

    @property
    def _redis_url(self) -> SecretStr:
        if self.serving.redis_url is None:
            raise BadSettings("IMGSEARCH_REDIS_URL is not set; features and stock need a Redis")
        return self.serving.redis_url

    @cached_property
    def notifier(self) -> Notifier:
        """Whoever is to be told; nothing secret is told to them."""
        redaction = Redaction.of(self.serving, self.pipeline)
        return Notifier(self.pipeline.alert_slack_webhook, self.pipeline.alert_webhook, redaction)

    @property
    def dagster_url(self) -> str | None:
        url = self.pipeline.dagster_url
        return None if url is None else str(url).rstrip("/")

    def replay_url(self, before: str, after: str) -> str | None:
        """Where people open the page of a replay; None where nobody said."""
        url = self.pipeline.admin_url
        return None if url is None else f"{str(url).rstrip('/')}{replays.PATH}{after}/{before}"

    @property
    def runbook_url(self) -> str | None:
        url = self.pipeline.runbook_url
        return None if url is None else str(url)

    @property
    def pointer(self) -> str:
        """The environment whose pointer a release moves: on one machine its own, else staging's first."""
        return "local" if self.serving.environment == "local" else "staging"

    def command(self, words: str) -> str:
        """A command of ours on what this process works on, to be typed into any shell."""
        objects, home = self.serving.objects, shlex.quote(str(self.serving.home.absolute()))
        where = objects.absolute() if isinstance(objects, Path) else objects
        told = "" if where is None else f"IMGSEARCH_OBJECTS={shlex.quote(str(where))} "
        return f"{told}imgsearch {words} --home {home} --environment {self.pointer}"

    def witnesses(self, name: str) -> Witnesses:
        """Who verifies a release in the environment ``name``. Raises ``BadSettings``."""
        told = self.pipeline
        if name == PRODUCTION:
            address, url, key = told.production_search_address, told.production_api_url, told.production_key
        elif name == self.pointer:
            address, url, key = told.staging_search_address, told.staging_api_url, told.staging_key
        else:
            return Witnesses()
        secret = None if key is None else key.get_secret_value()
        caller = Caller(channel_credentials(self.serving), self.serving.tls_server_name, secret)
        return Witnesses(address, None if url is None else str(url), caller, told.release_deadline_s)

    @property
    def alike(self) -> Alike:
        return Alike(self.pipeline.same_picture_cosine, self.pipeline.variant_cosine)

    @property
    def bounds(self) -> Bounds:
        names = (field.name for field in fields(Bounds))
        return Bounds(**{name: getattr(self.pipeline, f"gate_{name}") for name in names})

    @cached_property
    def politeness(self) -> Politeness:
        return Politeness(
            concurrency=self.pipeline.download_per_host, min_delay_s=self.pipeline.download_delay_s
        )

    @cached_property
    def limits(self) -> Limits:
        return Limits(
            max_bytes=self.serving.max_picture_bytes,
            max_pixels=self.serving.max_picture_pixels,
            timeout_s=self.pipeline.download_timeout_s,
            connections=self.pipeline.download_connections,
            allow_hosts=self.serving.fetch_allow_hosts,
        )


def read_environment(**overrides: object) -> Environment:
    """This process's; ``overrides`` are of the pipeline. Raises ``BadSettings`` naming every wrong key."""
    pipeline = read(PipelineSettings, **overrides)
    serving = read_settings()
    if serving.environment != "local" and (pipeline.catalogue is None or serving.redis_url is None):
        lacking = [
            name
            for name, value in (
                ("IMGSEARCH_CATALOGUE", pipeline.catalogue),
                ("IMGSEARCH_REDIS_URL", serving.redis_url),
            )
            if value is None
        ]
        raise BadSettings(f"{' and '.join(lacking)} must be set in {serving.environment}")
    return Environment(pipeline, serving)
