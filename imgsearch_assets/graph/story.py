"""What the graph tells of an asset beside what it does: whose it is, where it runs, what its table holds."""

from typing import Any

import dagster as dg

from imgsearch_assets.graph.lineage import table_metadata
from imgsearch_assets.graph.machines import MACHINES, TAG
from imgsearch_assets.graph.pods import PODS

# Whom to ask, by group: teams as they are called in Dagster, or addresses.
OWNERS = {
    "catalogue": "team:catalogue",
    "images": "team:catalogue",
    "models": "team:vision",
    "features": "team:vision",
    "index": "team:search",
    "release": "team:search",
    "operation": "team:search",
    "training": "team:vision",
}

Asset = dg.AssetSpec | dg.AssetsDefinition


def told(asset: Asset) -> Asset:
    """``asset`` with its owner, its machine and its columns. Raises ``KeyError`` for a group nobody owns."""
    if isinstance(asset, dg.AssetsDefinition):
        return asset.map_asset_specs(_told)
    return _told(asset)


def _told(spec: dg.AssetSpec) -> dg.AssetSpec:
    name = spec.key.to_user_string()
    tags: dict[str, Any] = {TAG: MACHINES[name]} if name in MACHINES else {}
    pod = {"pod": dg.MetadataValue.json(PODS[name].config())} if name in PODS else {}
    return spec.merge_attributes(
        owners=[OWNERS[spec.group_name or ""]], tags=tags, metadata={**table_metadata(name), **pod}
    )
