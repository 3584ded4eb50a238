import numpy as np
import pyarrow as pa
import pytest

from serving.errors import Unverified
from serving.index.collapse import COLLAPSES
from serving.index.groups import groupings


def products(picture: str, variant: str = "aaaaa") -> pa.Table:
    return pa.table(
        {"product_id": list("abcde"), "picture_group": list(picture), "variant_group": list(variant)}
    )


def test_every_kind_has_its_groups() -> None:
    found = groupings(products("aacae"))
    assert set(found) == set(COLLAPSES)
    assert [found[kind].count for kind in COLLAPSES] == [5, 1, 3]
    picture = found["picture"]
    assert picture.sizes(None).tolist() == [3, 0, 1, 0, 1]
    assert picture.members.tolist() == [0, 1, 3, 2, 4]


def test_what_a_filter_keeps() -> None:
    picture = groupings(products("aacae"))["picture"]
    allowed = np.array([False, True, False, True, True])
    assert picture.kept(allowed) == 2
    assert picture.others(3, None).tolist() == [0, 1]
    assert picture.others(3, allowed).tolist() == [1]
    alone = groupings(products("aacae"))["product"]
    assert alone.kept(allowed) == 3
    assert alone.others(3, allowed).tolist() == []


@pytest.mark.parametrize(
    ("picture", "text"),
    [
        ("aacax", "a picture_group has the name of no product of the generation"),
        ("bacde", "a picture_group has the name of a product of another group"),
    ],
)
def test_groups_have_the_names_of_their_own_products(picture: str, text: str) -> None:
    with pytest.raises(Unverified, match=text):
        groupings(products(picture))
