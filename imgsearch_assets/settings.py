"""What the pipeline is told, beside what it shares with the services (``serving.settings``).

``docs/settings.md`` lists every field; a test holds the two together.
"""

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
from pydantic_settings import NoDecode

from imgsearch_assets.gates.sanity import Bounds
from imgsearch_assets.graph.costs import EXAMPLE, Prices
from imgsearch_assets.index.duplicates import Alike
from imgsearch_assets.warehouse.settings import WarehouseSettings
from serving.index.generation import FACTORY, GRAPH
from serving.settings import Address

Policy = Literal["approval", "automatic"]
Steps = Literal["here", "pods"]


def _webhook(url: SecretStr) -> SecretStr:
    try:
        TypeAdapter(AnyHttpUrl).validate_python(url.get_secret_value())
    except ValidationError:
        raise ValueError("an http(s) URL is wanted") from None
    return url


_Webhook = Annotated[SecretStr, AfterValidator(_webhook)]


class PipelineSettings(WarehouseSettings):
    """Settings of the pipeline alone; what it shares with the services is in ``serving.settings``."""

    catalogue: str | None = Field(
        None,
        description="FILE.duckdb, FILE.duckdb::TABLE, FILE.parquet, FILE.csv or "
        "bigquery:PROJECT.DATASET.TABLE (`cloud.md`).",
    )
    catalogue_poll_s: int = Field(
        1,
        ge=1,
        description="How often the catalogue is looked at for a change; as Dagster's daemon looks every five "
        "seconds, less than five is at each of its looks, and five at every other.",
    )
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
    keep_snapshots_days: int = Field(
        30,
        ge=1,
        description="How long a snapshot of the catalogue is kept; that of a generation as long as it.",
    )
    production_release: Policy = Field(
        "approval",
        description="Whether somebody starts the job `promote`, or production follows staging by itself.",
    )
    steps: Steps | None = Field(
        None,
        description="Where steps of minutes work: `here`, in the process of their run, or in `pods` of their "
        "own (`adr/0010-steps-as-pods.md`). By default here in `local`, and else in pods.",
    )
    gpu_image: str | None = Field(
        None,
        pattern=r"^\S+$",
        description="Image of pods with a GPU, by its digest; those without have that of their run.",
    )
    part_pictures: int = Field(
        5_000,
        ge=1,
        description="Pictures that are worth a pod: so many more without boxes or vectors are a pod more; "
        "fewer are done beside the run.",
    )
    most_parts: int = Field(8, ge=1, description="Pods at once for boxes, and for vectors.")
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
    production_redis_url: SecretStr | None = Field(
        None,
        description="Redis of production, where it is another than IMGSEARCH_REDIS_URL: a promotion writes "
        "the features there before its pointer moves.",
    )
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
