"""Why a product is (not) found, or found so high: what the served generation holds of it."""

from typing import Self

from pydantic import BaseModel, Field

from serving.api.schemas import BoxFields, Models, Product
from serving.images.box import Box
from serving.proto import geometry_pb2, search_pb2

LIKE = "The id of a second product: how alike are the two, and where?"


class Part(BaseModel):
    """A part of a picture that has a vector."""

    box: BoxFields | None = Field(description="Null: the whole picture.")


class Picture(BaseModel):
    image_url: str
    image_sha256: str
    parts: list[Part]


class Pair(BaseModel):
    """The two parts of pictures, one of each product, that look most alike."""

    product_id: str = Field(description="The product that `like` names.")
    score: float = Field(
        description="Cosine, -1 to 1, of the two vectors as the index keeps them, which is as float16."
    )
    image_url: str = Field(description="Of the product that is explained.")
    box: BoxFields | None = Field(description="The part of that picture; null: the whole.")
    of_image_url: str = Field(description="Of the product that `like` names.")
    of_box: BoxFields | None = Field(description="The part of that picture; null: the whole.")


class Explanation(BaseModel):
    """What the served generation holds of a product."""

    product: Product
    generation: str
    created_at: float = Field(description="When the generation was made, seconds since 1970.")
    models: Models
    pictures: list[Picture] = Field(description="Those that it is found by.")
    variants: list[str] = Field(description="Ids of other products of its design, at most 100.")
    same_picture: list[str] = Field(description="Ids of other products with its picture, at most 100.")
    match: Pair | None = Field(description="How alike it and the product of `like` are; null without `like`.")

    @classmethod
    def of(cls, reply: search_pb2.ExplainReply, like: str | None) -> Self:
        match = None
        if like is not None:
            pair = reply.pair
            match = Pair(
                product_id=like,
                score=round(pair.score, 4),
                image_url=pair.image_url,
                box=_part(pair.box),
                of_image_url=pair.of_image_url,
                of_box=_part(pair.of_box),
            )
        return cls(
            product=Product.of(reply.product),
            generation=reply.generation,
            created_at=reply.created_at,
            models=Models(detector=reply.detector_version, embedder=reply.embedder_version),
            pictures=[
                Picture(
                    image_url=picture.image_url,
                    image_sha256=picture.image_sha256,
                    parts=[Part(box=_part(box)) for box in picture.parts],
                )
                for picture in reply.pictures
            ],
            variants=list(reply.variants),
            same_picture=list(reply.same_picture),
            match=match,
        )


def _part(box: geometry_pb2.Box) -> BoxFields | None:
    fields = BoxFields.of(box)
    return None if fields.box() == Box.whole() else fields
