"""What a collection says about itself."""

import pytest

from serving.errors import Unverified
from serving.milvus.description import Description

DESCRIPTION = Description(
    generation="0123456789abcdef",
    embedder="e",
    detector="d",
    dim=16,
    products=2,
    rows=3,
    created_at=1.5,
    index="FLAT",
    values={
        "category": [""],
        "brand": [f"b \"'\\\n é {number}" for number in range(5_000)],
        "colour": [],
    },
)


def test_it_is_cut_and_joined() -> None:
    pieces = DESCRIPTION.pieces()
    assert len(pieces) > 2
    assert max(len(piece.encode()) for piece in pieces) <= 60_000
    assert Description.joined("c", pieces) == DESCRIPTION
    assert DESCRIPTION.about.generation == "0123456789abcdef"


@pytest.mark.parametrize("pieces", [[], DESCRIPTION.pieces()[:-1], ["{}"], ['{"format": 2}'], ["\x00"]])
def test_less_than_all_of_it_is_none(pieces: list[str]) -> None:
    with pytest.raises(Unverified, match="collection c was not written to the end"):
        Description.joined("c", pieces)
