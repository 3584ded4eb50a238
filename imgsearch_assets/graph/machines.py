"""On which class of machine a step runs: what its asset is tagged with, and its seconds are priced by."""

from typing import Literal

from imgsearch_assets.graph.pods import PARTS

Machine = Literal["cpu", "gpu", "io"]

# Tag of every asset that is made here.
TAG = "machine"

# io: waits for others most of the time (the warehouse, picture servers, Redis, the object store).
MACHINES: dict[str, Machine] = {
    "product_snapshot": "io",
    "product_sightings": "cpu",
    "catalogue_diff": "cpu",
    "product_images": "io",
    "item_detector": "cpu",
    "item_embedder": "cpu",
    "item_detections": "gpu",
    "item_embeddings": "gpu",
    "ann_index": "cpu",
    "feature_store": "io",
    "staging_release": "io",
    "product_ledger": "cpu",
    "release_replay": "cpu",
    "production_release": "io",
    "training_dataset": "cpu",
    "trained_detector": "cpu",
    "trained_embedder": "cpu",
}


def machine_of(step: str) -> Machine:
    """Of a step, named as its asset.

    Of one that is cut into parts, these have its machine; what is before and after them has the run's.
    """
    asset, _, op = step.split("[", 1)[0].partition(".")
    return MACHINES.get(asset, "cpu") if op in ("", PARTS.get(asset)) else "cpu"
