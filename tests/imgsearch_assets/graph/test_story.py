import dagster as dg
import pytest

from imgsearch_assets.definitions import defs
from imgsearch_assets.graph.story import OWNERS, told


def test_every_asset_has_an_owner_a_kind_and_a_group() -> None:
    for spec in defs.resolve_all_asset_specs():
        assert spec.owners == [OWNERS[spec.group_name or ""]]
        assert spec.kinds


def test_a_group_that_nobody_owns_is_an_error() -> None:
    with pytest.raises(KeyError, match="orphans"):
        told(dg.AssetSpec("a", group_name="orphans"))
