"""Where a product is on its way from the catalogue to search, as people and the API are told it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal[
    "live",  # and as the catalogue has it now
    "outdated",  # live, but as it was before its last change
    "leaving",  # live, but no longer in the catalogue, or refused there
    "sold_out",
    "stock_unknown",  # live, but Redis is away
    "removed",
    "rejected",
    "no_picture",  # none could be had
    "waiting",  # for its next stage
    "no_item",  # no picture of it could be opened by the detector or the embedder
    "not_released",  # a generation has it
    "rolled_back",
]
State = Literal["done", "failed", "waiting"]
StageName = Literal["seen", "downloaded", "detected", "embedded", "indexed", "live", "in_stock"]

AT = "Seconds since 1970; null where it did not happen, or is not known any more."


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)


class Stage(_Told):
    stage: StageName
    state: State
    at: float | None = Field(description=AT)
    detail: str = Field(description="A sentence, with the reason of what failed.")


class PictureState(_Told):
    """One picture of the product, as far as it came."""

    image_url: str
    fetched: State
    reason: str | None = Field(description="Why it could not be had, or asking again failed; null where not.")
    http_status: int | None
    attempts: int
    fetched_at: float | None = Field(description=AT)
    retry_at: float | None = Field(description="When it may be asked for again, seconds since 1970.")
    detected: State
    detected_reason: str | None
    detected_at: float | None = Field(description=AT)
    items: int = Field(description="Items that were found on it.")
    embedded: State
    embedded_reason: str | None
    embedded_at: float | None = Field(description=AT)
    searchable: bool = Field(description="Whether the live generation has it.")


class Refused(_Told):
    """A row of the newest snapshot with the product's id that could not be used."""

    row: int = Field(description="The row's number in the catalogue, from 1.")
    reason: str
    detail: str


class Place(_Told):
    """What is live in an environment, and whether the product is in it."""

    environment: str
    generation: str
    released_at: float = Field(description=AT)
    searchable: bool
    since: float | None = Field(description="Of the first release in a row that had it; seconds since 1970.")


class Event(_Told):
    """An entry of the ledger: a change of the catalogue (``snapshot``) or a release (``generation``)."""

    at: float = Field(description=AT)
    change: str = Field(
        description="new, repictured, touched, reattributed, removed or rejected; came, changed or went."
    )
    detail: str
    snapshot: str | None
    generation: str | None
    run: str | None = Field(description="The run of the pipeline that noticed it.")
    searchable_after_s: float | None = Field(
        description="Of a release: seconds since the change was noticed."
    )


class Journey(_Told):
    """Why a product is, or is not, searchable in an environment."""

    product_id: str
    environment: str
    searchable: bool | None = Field(
        description="Whether a shopper finds it: live, and not sold out; null while that is not known."
    )
    verdict: Verdict
    sentence: str = Field(description="The verdict for a person, with its reason.")
    seen_at: float | None = Field(description=AT)
    updated_at: float | None = Field(description="What the catalogue says; seconds since 1970.")
    snapshot: str | None = Field(description="The newest snapshot of the catalogue.")
    stages: list[Stage]
    pictures: list[PictureState]
    rejected: list[Refused]
    places: list[Place]
    history: list[Event] = Field(description="The newest first, at most 50.")
