import numpy as np
import pytest

from serving.index.artifact import load
from serving.index.collapse import COLLAPSES, Collapse
from serving.index.groups import Grouping
from serving.index.kept import Kept
from serving.index.search import search


@pytest.mark.parametrize("collapse", COLLAPSES)
def test_what_is_counted_once_is_found_as_what_is_counted_each_time(
    shop, collapse: Collapse, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = shop.build()
    generation = load(shop.store, shop.without(shop.changed(first, shop.ids[:9]), shop.ids[20:25]))
    allowed = generation.in_stock & generation.everything()
    kept = Kept(generation, allowed)
    assert kept.products == np.count_nonzero(allowed)
    assert kept.groups(collapse) == generation.groupings[collapse].kept(allowed)
    monkeypatch.setattr(Grouping, "kept", None)  # which is not counted again
    assert kept.groups(collapse) <= kept.products
    found = [search(generation, generation.vectors(place), 7, kept, collapse=collapse) for place in range(20)]
    monkeypatch.undo()
    assert found == [
        search(generation, generation.vectors(place), 7, allowed, collapse=collapse) for place in range(20)
    ]
