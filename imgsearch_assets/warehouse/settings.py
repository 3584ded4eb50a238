"""What the pipeline is told of a warehouse and of who tells it that the catalogue changed."""

from pydantic import AnyHttpUrl, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from serving.settings import Address

# Before the name of a table, where a file has its path.
BIGQUERY = "bigquery:"
_PROJECT = r"[a-z0-9.:-]+"


class WarehouseSettings(BaseSettings):
    """Settings of a catalogue in BigQuery; nothing of them is read for a file."""

    model_config = SettingsConfigDict(
        env_prefix="IMGSEARCH_", frozen=True, extra="ignore", allow_inf_nan=False
    )

    bigquery_project: str | None = Field(
        None, description="Project that pays for jobs and reading; without it that of the catalogue."
    )
    bigquery_work_dataset: str = Field(
        "imgsearch",
        pattern=r"^\w+$",
        description="Dataset of that project, in the catalogue's location, for copies of the catalogue.",
    )
    bigquery_copy_days: int = Field(7, ge=1, le=365, description="After so many days a copy expires.")
    bigquery_max_bytes_billed: int = Field(
        20 * 2**30, ge=10 * 2**20, description="A query that would bill more fails before it costs anything."
    )
    bigquery_deadline_s: float = Field(
        300.0, ge=1, description="Whole time of one job or one reading, retries included."
    )
    bigquery_changes: str | None = Field(
        None,
        pattern=r"^[^\s,]+\.\w+\.[^\s,.]+(,[^\s,]+\.\w+\.[^\s,.]+)*$",
        description="PROJECT.DATASET.TABLE,...: the tables behind a catalogue that is a view; their metadata "
        "say when it changed, as a view's own do not.",
    )
    bigquery_endpoint: AnyHttpUrl | None = Field(
        None,
        description="Another address of BigQuery's API (Private Service Connect). One of http:// is an "
        "emulator, and is shown no credentials.",
    )
    bigquery_storage_endpoint: Address | None = Field(
        None, description="The same of the Storage Read API, host:port."
    )
    pubsub_subscription: str | None = Field(
        None,
        pattern=rf"^projects/{_PROJECT}/subscriptions/[\w.~+%-]+$",
        description="Pub/Sub subscription whose messages make the sensor look at the catalogue at once.",
    )
    pubsub_batch: int = Field(
        100, ge=1, le=500, description="Most messages that are taken at a look; the others wait."
    )
