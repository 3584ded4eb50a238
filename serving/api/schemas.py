"""What travels over HTTP: checked on the way in, described in ``/openapi.json`` from here."""

import base64
from typing import Annotated, Any, Literal, Self

from fastapi import UploadFile
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from serving.api.paging import MAX_CHARS, PATTERN
from serving.errors import BadInput
from serving.images.box import GRID, Box
from serving.index.collapse import Collapse
from serving.proto import geometry_pb2, search_pb2

DEFAULT_K = 24
_BOX = "Search with this part of the picture alone."
K = "Most products in the answer."
COLLAPSE = (
    "What the answer shows once: a product, one design in its colours (variant), or products of one picture. "
    "The best product shows its group and names the others in `also`. Null: as the shop has it set."
)
CURSOR = (
    "`next_cursor` of the page before, for a search that is otherwise the same; `k` may differ. "
    "409 when the index has moved on meanwhile."
)
MAX_TEXT = 200
MAX_FIELD = 32 * 2**10  # characters


class _In(BaseModel):
    """A misspelt field is an error, not a filter that silently does nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BoxFields(_In):
    """A rectangle as fractions 0 to 1 of the upright picture."""

    x0: float = Field(strict=True, ge=0, le=1, examples=[0.1])
    y0: float = Field(strict=True, ge=0, le=1, examples=[0.1])
    x1: float = Field(strict=True, ge=0, le=1, examples=[0.9])
    y1: float = Field(strict=True, ge=0, le=1, examples=[0.9])

    def box(self) -> Box:
        """Raises ``BadInput`` when it is empty."""
        return Box(self.x0, self.y0, self.x1, self.y1)

    @classmethod
    def of(cls, box: Box | geometry_pb2.Box) -> Self:
        return cls(**sides(box))


def sides(box: Box | geometry_pb2.Box) -> dict[str, float]:
    """On the grid of ``Box``, as a message's float32 carries noise in its last digits."""
    return {
        "x0": round(box.x0 * GRID) / GRID,
        "y0": round(box.y0 * GRID) / GRID,
        "x1": round(box.x1 * GRID) / GRID,
        "y1": round(box.y1 * GRID) / GRID,
    }


def _a_rectangle(fields: BoxFields) -> BoxFields:
    try:
        fields.box()
    except BadInput as error:
        raise ValueError(error.message.removeprefix("box: ")) from None
    return fields


# Asked for by a person: what does not fit is told as any other field that does not.
ChosenBox = Annotated[BoxFields, AfterValidator(_a_rectangle)]
Value = Annotated[str, Field(max_length=256)]
Cursor = Annotated[str, Field(max_length=MAX_CHARS, pattern=PATTERN)]


class Filters(_In):
    """AND of what is set; each list is any-of; an empty list does not filter."""

    categories: list[Value] = Field(default=[], examples=[[]])
    brands: list[Value] = Field(default=[], examples=[[]])
    colours: list[Value] = Field(default=[], examples=[[]])
    price_min: int | None = Field(
        default=None, strict=True, ge=0, lt=2**63, description="Smallest unit of the currency (cents)."
    )
    price_max: int | None = Field(
        default=None, strict=True, ge=0, lt=2**63, description="Smallest unit of the currency (cents)."
    )
    in_stock_only: bool = Field(
        default=True,
        strict=True,
        description="Only what can be bought now; false shows what is sold out, too.",
    )

    @model_validator(mode="after")
    def _price_in_order(self) -> Self:
        if self.price_min is not None and self.price_max is not None and self.price_min > self.price_max:
            raise ValueError(f"price_min ({self.price_min}) is more than price_max ({self.price_max})")
        return self


def _from_base64(text: object) -> bytes:
    """Strictly: what is not base64 is told as that, not as a strange picture."""
    try:
        return base64.b64decode(str(text), validate=True)
    except ValueError:
        raise ValueError(
            "not base64; send the file's bytes as RFC 4648 base64, without a data: prefix"
        ) from None


Base64 = Annotated[
    bytes, BeforeValidator(_from_base64), WithJsonSchema({"type": "string", "contentEncoding": "base64"})
]


class SearchBody(_In):
    """Exactly one of ``image_url``, ``product_id``, ``image_base64`` and ``text``."""

    image_url: str | None = Field(default=None, max_length=2048)
    product_id: str | None = Field(default=None, min_length=1, max_length=256)
    image_base64: Base64 | None = Field(default=None, description="A JPEG, PNG or WebP file as base64.")
    text: (
        Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT)] | None
    ) = Field(
        default=None,
        description="Words for what is looked for, where `/v1/status` says `text_search`; "
        "else the answer is 501, `text_search_off`.",
        examples=[None],
    )
    box: ChosenBox | None = Field(default=None, description=_BOX)
    filters: Filters = Filters()
    k: int = Field(default=DEFAULT_K, strict=True, ge=1, description=K)
    collapse: Collapse | None = Field(default=None, description=COLLAPSE, examples=["picture"])
    cursor: Cursor | None = Field(default=None, description=CURSOR, examples=[None])

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [
            name
            for name in ("image_url", "product_id", "image_base64", "text")
            if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ValueError("give exactly one of image_url, product_id, image_base64 and text")
        if self.box is not None and given[0] in ("product_id", "text"):
            raise ValueError(f"a box belongs to a picture; leave it out with {given[0]}")
        return self


def _short(text: object) -> object:
    """JSON in a field of a form, which may have a megabyte; each of its values may be a complaint."""
    if isinstance(text, str) and len(text) > MAX_FIELD:
        raise ValueError(f"has {len(text):,} characters; at most {MAX_FIELD:,}")
    return text


class PictureForm(_In):
    """An upload; ``box`` and ``filters`` are JSON, as in ``SearchBody``. An empty field is none."""

    image: UploadFile = Field(description="A JPEG, PNG or WebP file.")
    box: Annotated[Json[ChosenBox] | None, BeforeValidator(_short)] = Field(default=None, description=_BOX)
    filters: Annotated[Json[Filters], BeforeValidator(_short)] = Filters()
    k: int = Field(default=DEFAULT_K, ge=1, description=K)
    collapse: Collapse | None = Field(default=None, description=COLLAPSE)
    cursor: Cursor | None = Field(default=None, description=CURSOR)


class Product(BaseModel):
    """A product as the generation holds it."""

    product_id: str
    name: str
    brand: str
    category: str
    colour: str
    price: int = Field(description="Smallest unit of the currency (cents).")
    currency: str = Field(description="ISO 4217.")
    in_stock: bool = Field(description="Now, to within seconds.")
    image_url: str = Field(description="In a result: the picture that matched; else the first.")
    image_urls: list[str]

    @classmethod
    def of(cls, product: search_pb2.Product) -> Self:
        return cls.model_validate(product_fields(product))


def product_fields(product: search_pb2.Product, image_url: str | None = None) -> dict[str, Any]:
    """Those of ``Product``, with its first picture unless another is to be shown."""
    image_urls = list(product.image_urls)
    return {
        "product_id": product.product_id,
        "name": product.name,
        "brand": product.brand,
        "category": product.category,
        "colour": product.colour,
        "price": product.price,
        "currency": product.currency,
        "in_stock": product.in_stock,
        "image_url": next(iter(image_urls), "") if image_url is None else image_url,
        "image_urls": image_urls,
    }


class Match(Product):
    """A product found, and which of its pictures looked most alike. ``api.answer`` writes it."""

    score: float = Field(description="Cosine, -1 to 1, of the best pair of pictures.")
    box: BoxFields | None = Field(description="The part of the picture that matched.")
    also: list[str] = Field(
        description="Ids of up to eight further products of its group that the filters keep, the most alike "
        "first; see `collapse`.",
        examples=[[]],
    )


class FoundBox(BaseModel):
    """Something to search with on the picture; category and score are unknown for stored features."""

    box: BoxFields
    category: str | None
    score: float | None


class Models(BaseModel):
    """Versions; the detector's is absent where none was asked."""

    detector: str | None
    embedder: str


# Where the vectors of a search come from.
FeaturesFrom = Literal["computed", "stored", "index"]


class Answer(BaseModel):
    """Products, best first, out of exactly one generation. ``api.answer`` writes it."""

    results: list[Match]
    boxes: list[FoundBox] = Field(description="All items seen on the picture, the main one first.")
    chosen_box: BoxFields | None = Field(description="The box searched with; null: the whole picture.")
    product: Product | None = Field(description="The product searched with, if it was one.")
    generation: str
    models: Models
    stock: str = Field(description="Which state of the stock it keeps to; empty: the generation's own.")
    plan: str = Field(description="How the index was searched: exact or graph.")
    collapse: Collapse = Field(description="What is shown once.")
    exhausted: bool = Field(description="No further product, or group of them, exists under these filters.")
    next_cursor: str | None = Field(
        description="For the next page, as `cursor` of the same search; null at the end. A page may have "
        "fewer than k products, the last one none."
    )
    features: FeaturesFrom = Field(description="Where the vectors came from.")
    cached: bool = Field(default=False, description="Whether this answer was made for an earlier request.")
    timings_ms: dict[str, float] = {}


# Of an answer: made for this request, kept from an earlier one, or shared with an equal one under way.
Origin = Literal["made", "kept", "shared"]


class ProductAnswer(BaseModel):
    product: Product
    generation: str


class Values(BaseModel):
    """What the filters can be set to in this generation."""

    categories: list[str]
    brands: list[str]
    colours: list[str]


Health = Literal["serving", "not_serving", "unreachable"]


class Status(BaseModel):
    """``ready``: ask away; ``degraded``: by product alone, a service that pictures need is away.

    ``empty``: nothing is indexed yet; ``unavailable``: the search service does not answer.
    """

    state: Literal["ready", "degraded", "empty", "unavailable"]
    services: dict[str, Health]
    generation: str | None
    created_at: float | None = Field(description="When the generation was made, seconds since 1970.")
    products: int
    rows: int = Field(description="Rows of the index: boxes and whole pictures.")
    models: Models | None
    values: Values
    text_search: bool = Field(description="Whether a search can be made with `text`.")
    stale: str | None = Field(description="Why a newer generation could not be loaded, if so.")
    max_k: int
    max_picture_bytes: int


class Told(BaseModel):
    code: str
    message: str
    request_id: str


class ErrorAnswer(BaseModel):
    """The one shape of every error."""

    error: Told
