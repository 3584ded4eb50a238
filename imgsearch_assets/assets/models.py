"""The models that the pipeline works with: what is live, the shipped ones where nothing else is."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import dagster as dg

from imgsearch_assets.automation import ON_NEW_CODE
from imgsearch_assets.environment import Environment
from imgsearch_assets.graph.steps import Stopwatch, step
from imgsearch_assets.models.measuring import drawn_yardstick
from imgsearch_assets.models.shipped import WEIGHTS, Taken, take_shipped
from imgsearch_assets.references import Model
from serving.models import detector, embedder
from serving.models.card_text import model_card
from serving.models.live import read_live
from serving.object_store import ObjectStore

GROUP = "models"

_CHECK = "not_worse_than_live"
_MAX_PICTURE_BYTES = 2**20
_PICTURES = {".png": "image/png", ".jpg": "image/jpeg"}


def _model_asset(asset_name: str, model: str, weights: str, description: str) -> dg.AssetsDefinition:
    """An asset whose value is the live version of ``model``; its code version names the shipped weights."""

    @dg.asset(
        name=asset_name,
        group_name=GROUP,
        kinds={"pytorch"},
        automation_condition=ON_NEW_CODE,
        code_version=_hash(weights),
        check_specs=[
            dg.AssetCheckSpec(
                _CHECK, asset=asset_name, description="The shipped model is not worse than what is live."
            )
        ],
        description=f"{description} What somebody registered stays; else the shipped one, if it is no worse.",
    )
    def live_model(
        environment: dg.ResourceParam[Environment], store: dg.ResourceParam[ObjectStore]
    ) -> Iterator[dg.MaterializeResult[Model]]:
        watch = Stopwatch()
        with step():
            taken = take_shipped(store, model, lambda: drawn_yardstick(environment.serving.home / "datasets"))
            shown = _pictures(store, taken)
            promotion = read_live(store, model).promotion
        card = taken.live
        yield dg.MaterializeResult(
            value=Model(name=card.name, version=card.version),
            data_version=dg.DataVersion(card.version),
            metadata={
                **{name: dg.MetadataValue.float(float(value)) for name, value in card.metrics.items()},
                "version": card.version,
                "previous": taken.previous or "none",
                "what": "refused" if taken.refused else taken.message,
                "architecture": card.architecture,
                "dim": card.dim or 0,
                "categories": ", ".join(card.categories) or "none",
                "dataset": card.dataset or "unknown",
                "split": card.split or "unknown",
                "live_since": dg.MetadataValue.timestamp(promotion.at),
                "made_live": f"{promotion.who}: {promotion.why}",
                "went_live_by": dg.MetadataValue.json(promotion.measured.model_dump()),
                "size_bytes": card.weights_size_bytes,
                "preprocessing": card.preprocessing.fingerprint,
                "card": dg.MetadataValue.md(model_card(card)),
                **shown,
                "seconds": watch.seconds,
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=_CHECK,
                    passed=not taken.refused,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=taken.message,
                    metadata={one.figure: float(one.candidate) for one in taken.compared},
                )
            ],
        )

    return live_model


def _hash(weights: str) -> str:
    return hashlib.sha256((WEIGHTS / f"{weights}.safetensors").read_bytes()).hexdigest()[:16]


def _pictures(store: ObjectStore, taken: Taken) -> Mapping[str, Any]:
    """The pictures that a bundle brings along (``curves.png``, ``worst.jpg``), each under its name."""
    found = {}
    for key in store.list(f"models/{taken.live.name}/{taken.live.version}"):
        path = PurePosixPath(key)
        kind = _PICTURES.get(path.suffix)
        if kind and store.size(key) <= _MAX_PICTURE_BYTES:
            data = base64.b64encode(store.get(key)).decode()
            found[path.stem] = dg.MetadataValue.md(f"![{path.stem}](data:{kind};base64,{data})")
    return found


item_detector = _model_asset("item_detector", detector.NAME, "detector_head", "Finds the items on a picture.")
item_embedder = _model_asset(
    "item_embedder", embedder.NAME, "embedder_projection", "Turns an item into a vector."
)
# By the asset that holds it: whose ``live.json`` is watched.
MODELS = {detector.NAME: item_detector.key, embedder.NAME: item_embedder.key}
