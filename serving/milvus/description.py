"""What a collection says about itself.

It lies in the collection, in a partition of its own that no search looks into, as JSON text cut to what one
entity can hold. It is written last, when all else was verified: a collection without it is half-written.
"""

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.errors import Unverified
from serving.services.searchable import About

# Raised when a reader of the former layout could not read the present one.
FORMAT: Literal[1] = 1

# FLAT compares every row; HNSW is a graph.
Index = Literal["FLAT", "HNSW"]

# JSON is written in ASCII, so this is bytes; Milvus's texts end at 65,535.
_PIECE_BYTES = 60_000


class Description(BaseModel):
    """``values`` are those that products have, by facet, in order; a value's number is its place there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT
    generation: str
    embedder: str
    detector: str
    dim: int
    products: int
    rows: int
    created_at: float
    index: Index
    values: dict[str, list[str]]

    @property
    def about(self) -> About:
        return About(
            self.generation,
            self.embedder,
            self.detector,
            self.dim,
            self.products,
            self.rows,
            self.created_at,
        )

    def pieces(self) -> list[str]:
        text = json.dumps(self.model_dump(), ensure_ascii=True)
        return [text[start : start + _PIECE_BYTES] for start in range(0, len(text), _PIECE_BYTES)]

    @classmethod
    def joined(cls, collection: str, pieces: list[str]) -> "Description":
        """Raises ``Unverified`` when ``pieces`` are not all of one description."""
        try:
            return cls.model_validate_json("".join(pieces))
        except ValidationError:
            raise Unverified(f"collection {collection} was not written to the end") from None
