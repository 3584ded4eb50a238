"""The models, registered."""

import hashlib

import dagster as dg

from imgsearch_assets.automation import ON_NEW_CODE
from imgsearch_assets.models import WEIGHTS, register_detector, register_embedder
from imgsearch_assets.references import Model
from imgsearch_assets.steps import Stopwatch, step
from serving.models.bundle import Bundle
from serving.object_store import ObjectStore

GROUP = "models"


def _shipped(name: str) -> str:
    """Names the weights that this code brings along."""
    return hashlib.sha256((WEIGHTS / f"{name}.safetensors").read_bytes()).hexdigest()[:16]


@dg.asset(
    group_name=GROUP,
    kinds={"pytorch"},
    automation_condition=ON_NEW_CODE,
    code_version=_shipped("detector_head"),
    description="Finds the items on a picture. The same weights again are the same version.",
)
def item_detector(store: dg.ResourceParam[ObjectStore]) -> dg.MaterializeResult[Model]:
    watch = Stopwatch()
    with step():
        bundle = register_detector(store)
    return _registered(bundle, watch, categories=", ".join(bundle.card.categories))


@dg.asset(
    group_name=GROUP,
    kinds={"pytorch"},
    automation_condition=ON_NEW_CODE,
    code_version=_shipped("embedder_projection"),
    description="Turns an item into a vector. The same weights again are the same version.",
)
def item_embedder(store: dg.ResourceParam[ObjectStore]) -> dg.MaterializeResult[Model]:
    watch = Stopwatch()
    with step():
        bundle = register_embedder(store)
    return _registered(bundle, watch, dim=str(bundle.card.dim))


def _registered(bundle: Bundle, watch: Stopwatch, **said: str) -> dg.MaterializeResult[Model]:
    return dg.MaterializeResult(
        value=Model(name=bundle.name, version=bundle.version),
        data_version=dg.DataVersion(bundle.version),
        metadata={
            "version": bundle.version,
            "size_bytes": bundle.card.weights_size_bytes,
            "preprocessing": bundle.card.preprocessing.fingerprint,
            **{name: dg.MetadataValue.float(float(value)) for name, value in bundle.card.metrics.items()},
            **said,
            "seconds": watch.seconds,
        },
    )
