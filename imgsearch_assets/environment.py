"""Which environment this is, and what differs between them: the only file that knows."""

import shlex
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

from pydantic import (
    SecretStr,
)

from imgsearch_assets.alerting.notifier import Notifier
from imgsearch_assets.catalogue.warehouse import Warehouse
from imgsearch_assets.gates.sanity import Bounds
from imgsearch_assets.images.download import Limits
from imgsearch_assets.images.politeness import Politeness
from imgsearch_assets.index.duplicates import Alike
from imgsearch_assets.messages import Inbox
from imgsearch_assets.settings import PipelineSettings
from imgsearch_assets.trial.witnesses import Witnesses
from imgsearch_assets.warehouse.location import open_warehouse
from serving.cache.features import FeatureStore
from serving.cache.stock_log import StockLog
from serving.cache.troubles import URL, wrong
from serving.errors import BadSettings
from serving.identity.keys import is_key
from serving.index import replays
from serving.location import open_store
from serving.object_store import ObjectStore
from serving.redaction import Redaction
from serving.rpc.client import Caller
from serving.settings import Settings, read, read_settings
from serving.tls import channel_credentials

# The environment that shoppers see; it gets what staging has.
PRODUCTION = "production"
_PRODUCTION_REDIS = "IMGSEARCH_PRODUCTION_REDIS_URL"


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

    def other_feature_store(self, name: str) -> FeatureStore | None:
        """That of the environment ``name``, where it is another than the pipeline's own.

        Raises ``BadSettings`` for a URL that is none.
        """
        url = self.pipeline.production_redis_url
        if name != PRODUCTION or url is None:
            return None
        _refuse(_PRODUCTION_REDIS, url)
        return FeatureStore(url.get_secret_value(), self.serving.redis_timeout_s, _PRODUCTION_REDIS)

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
    def steps_in_pods(self) -> bool:
        """Whether steps of minutes are Kubernetes jobs of their own."""
        told = self.pipeline.steps
        return self.serving.environment != "local" if told is None else told == "pods"

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


def read_told(**overrides: object) -> Environment:
    """What this process is told, where no catalogue is needed. Raises ``BadSettings`` naming every wrong key.

    ``overrides`` are of the pipeline.
    """
    return Environment(read(PipelineSettings, **overrides), read_settings())


def read_environment(**overrides: object) -> Environment:
    """The same of who needs all of it. Raises ``BadSettings`` for what lacks, too."""
    told = read_told(**overrides)
    pipeline, serving = told.pipeline, told.serving
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
    for name, url in (
        (URL, serving.redis_url),
        (_PRODUCTION_REDIS, pipeline.production_redis_url),
    ):
        if url is not None:
            _refuse(name, url)
    return told


def _refuse(name: str, url: SecretStr) -> None:
    """Raises ``BadSettings`` where a URL of Redis is none, or names a file that is none."""
    said = wrong(url.get_secret_value(), name)
    if said is not None:
        raise BadSettings(said)
