"""Columns and where they come from; that runs write such tables is seen in test_gated."""

import dagster as dg

from imgsearch_assets.catalogue.contract import PRODUCTS
from imgsearch_assets.definitions import defs
from imgsearch_assets.graph.lineage import MEANING, SCHEMAS, SOURCES, table_metadata


def test_every_source_is_a_column_of_an_asset_upstream() -> None:
    graph = defs.resolve_asset_graph()
    for asset, sources in SOURCES.items():
        upstream = {key.to_user_string() for key in graph.get_ancestor_asset_keys(dg.AssetKey(asset))}
        for parents in sources.values():
            for parent, column in parents:
                assert parent in upstream
                assert column in SCHEMAS[parent].names


def test_every_column_has_sources_and_a_meaning_that_some_table_needs() -> None:
    used = {name for schema in SCHEMAS.values() for name in schema.names}
    assert used == set(MEANING)
    for asset in SCHEMAS.keys() - {"products"}:
        assert set(SOURCES[asset]) == set(SCHEMAS[asset].names)


def test_the_types_are_those_of_the_contract() -> None:
    schema = table_metadata("product_snapshot")["dagster/column_schema"]
    assert [(column.name, column.type) for column in schema.columns] == [
        (field.name, str(field.type)) for field in PRODUCTS
    ]
    assert not schema.columns[0].constraints.nullable
    assert schema.columns[-1].constraints.nullable


def test_a_column_is_followed_to_the_table_of_the_retailer() -> None:
    lineage = table_metadata("product_snapshot")["dagster/column_lineage"]
    assert lineage.deps_by_column["price"] == [dg.TableColumnDep("products", "price")]
    lineage = table_metadata("feature_store")["dagster/column_lineage"]
    assert lineage.deps_by_column["vectors"] == [dg.TableColumnDep("ann_index", "vector")]


def test_a_column_says_in_words_what_it_is_made_from() -> None:
    said = {
        (asset, column.name): column.description
        for asset in SCHEMAS
        for column in table_metadata(asset)["dagster/column_schema"].columns
    }
    assert said["ann_index", "price"] == "In the smallest unit of the currency. From product_snapshot.price."
    assert said["ann_index", "picture_group"] == (
        "Products that have a picture in common, named by one of them. From item_embeddings.sha256, "
        "item_embeddings.vector."
    )
    assert said["product_sightings", "detail"] == (
        "What about the row is wrong. From any column of product_snapshot."
    )
    assert said["product_sightings", "run"] == "The run that saw it."
    assert said["products", "price"] == "In the smallest unit of the currency."


def test_a_model_is_no_table() -> None:
    assert table_metadata("item_detector") == {}
