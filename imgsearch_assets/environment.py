"""Which environment this is, and what differs between them: the only file that knows."""

from dataclasses import dataclass
from functools import cached_property

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from imgsearch_assets.duplicates import Alike
from imgsearch_assets.images.download import Limits
from imgsearch_assets.images.politeness import Politeness
from serving.cache.features import FeatureStore
from serving.cache.stock_log import StockLog
from serving.errors import BadSettings
from serving.index.generation import FACTORY, GRAPH
from serving.object_store import LocalObjectStore, ObjectStore
from serving.settings import Settings, read, read_settings


class PipelineSettings(BaseSettings):
    """Settings of the pipeline alone; what it shares with the services is in ``serving.settings``."""

    model_config = SettingsConfigDict(env_prefix="IMGSEARCH_", frozen=True, extra="ignore")

    catalogue: str | None = Field(
        None, description="FILE.duckdb, FILE.duckdb::TABLE, FILE.parquet or FILE.csv."
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
    stock_max_lost: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Share of what is in stock that may leave at once; past it the stock feed writes nothing "
        "and says so, as the catalogue is more likely broken.",
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


@dataclass(frozen=True)
class Environment:
    """What the assets are given to work with."""

    pipeline: PipelineSettings
    serving: Settings

    @property
    def catalogue(self) -> str:
        """Location of the catalogue. Raises ``BadSettings`` when none is set."""
        if self.pipeline.catalogue is None:
            raise BadSettings("IMGSEARCH_CATALOGUE is not set; name a .duckdb, .parquet or .csv file")
        return self.pipeline.catalogue

    @property
    def store(self) -> ObjectStore:
        return LocalObjectStore(self.serving.home / "objects")

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

    @property
    def pointer(self) -> str:
        """The environment whose pointer a release moves: on one machine its own, else staging's first."""
        return "local" if self.serving.environment == "local" else "staging"

    @property
    def alike(self) -> Alike:
        return Alike(self.pipeline.same_picture_cosine, self.pipeline.variant_cosine)

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
