"""Boxes of the items on the pictures, and vectors of the boxes."""

from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from imgsearch_assets.automation import ON_CHANGE
from imgsearch_assets.catalogue.snapshot import items_of, keep, with_vectors
from imgsearch_assets.features.budget import WORTH_MEASURING, measured_speed, plan
from imgsearch_assets.features.tables import (
    NOTHING,
    Work,
    detect_pictures,
    detections_table,
    embed_boxes,
    embeddings_table,
)
from imgsearch_assets.graph.steps import GPU, Stopwatch, preview, reasons, step
from imgsearch_assets.progress import stage
from imgsearch_assets.references import EmbeddedItems, Items, Model, Pictures
from imgsearch_assets.sheets import boxes_of
from imgsearch_assets.tables import read_parquet
from serving.errors import BadInput
from serving.models.bundle import load_bundle
from serving.models.detector import Detector
from serving.models.embedder import Embedder
from serving.object_store import ObjectStore

GROUP = "features"

_LOOKED_BACK = 50  # materializations


# What both forms of an asset have in common: in one step, and cut into parts (``parts``).
KINDS = {"pytorch"}
DETECTIONS = "Where the items are: a box for the item and one for the whole picture."
EMBEDDINGS = "What the items look like: a vector of unit length for every box."
Context = dg.AssetExecutionContext | dg.OpExecutionContext


@dg.asset(
    group_name=GROUP,
    kinds=KINDS,
    pool=GPU,
    automation_condition=ON_CHANGE,
    description=DETECTIONS,
)
def item_detections(
    context: dg.AssetExecutionContext,
    product_images: Pictures,
    item_detector: Model,
    store: dg.ResourceParam[ObjectStore],
) -> dg.MaterializeResult[Items]:
    return detected(context, product_images, item_detector, store)


@dg.asset(
    group_name=GROUP,
    kinds=KINDS,
    pool=GPU,
    automation_condition=ON_CHANGE,
    description=EMBEDDINGS,
)
def item_embeddings(
    context: dg.AssetExecutionContext,
    item_detections: Items,
    item_embedder: Model,
    store: dg.ResourceParam[ObjectStore],
) -> dg.MaterializeResult[EmbeddedItems]:
    return embedded(context, item_detections, item_embedder, store)


def detected(
    context: Context, pictures: Pictures, model: Model, store: ObjectStore, before: Work = NOTHING
) -> dg.MaterializeResult[Items]:
    """Find what is lacking, and keep the items of a snapshot. ``before``: what parts did."""
    watch = Stopwatch()
    with step():
        rows = read_parquet(store, pictures.key)
        shas: list[Any] = pc.unique(rows["sha256"]).to_pylist()
        detector = Detector(load_bundle(store, model.name, model.version))
        budget = _Told(context, "item_detections", "pictures", detector)
        with stage("items", len(shas)) as advance:
            work = before + detect_pictures(store, detector, shas, advance, budget.begin)
        table = detections_table(store, detector.version)
        table.compact()
        detections = table.read()
        detections = detections.filter(
            pc.is_in(detections["sha256"], value_set=rows["sha256"].combine_chunks())
        )
        items = items_of(rows, detections)
        key = keep(store, pictures.snapshot, "items", items)
        drawn = boxes_of(store, _new(detections, work))
    return dg.MaterializeResult(
        value=Items(
            snapshot=pictures.snapshot,
            key=key,
            detector=detector.version,
            waived=pictures.waived,
        ),
        data_version=dg.DataVersion(key),
        metadata={
            "dagster/row_count": items.num_rows,
            "detected": work.made,
            "detector": detector.version,
            "items": preview(_new(items, work)),
            "boxes": drawn,
            **_figures(work, len(shas)),
            **budget.figures,
            "seconds": watch.seconds,
        },
    )


def embedded(
    context: Context, detections: Items, model: Model, store: ObjectStore, before: Work = NOTHING
) -> dg.MaterializeResult[EmbeddedItems]:
    """Embed what is lacking, keep the items of a snapshot that have vectors. ``before``: what parts did."""
    watch = Stopwatch()
    with step():
        items = read_parquet(store, detections.key)
        embedder = Embedder(load_bundle(store, model.name, model.version))
        boxes = boxes_in(items)
        budget = _Told(context, "item_embeddings", "boxes", embedder)
        with stage("vectors", boxes.num_rows) as advance:
            work = before + embed_boxes(store, embedder, boxes, advance, budget.begin)
        table = embeddings_table(store, embedder.version, embedder.dim)
        table.compact()
        embedded = with_vectors(items, table.read()).drop_columns(["vector"])
        if embedded.num_rows == 0:
            raise BadInput("no picture of the catalogue has a vector; what is live stays as it is")
        key = keep(store, detections.snapshot, "embedded", embedded)
    return dg.MaterializeResult(
        value=EmbeddedItems(
            snapshot=detections.snapshot,
            key=key,
            detector=detections.detector,
            embedder=embedder.version,
            waived=detections.waived,
        ),
        data_version=dg.DataVersion(f"{embedder.version}/{key}"),
        metadata={
            "dagster/row_count": embedded.num_rows,
            "embedded": work.made,
            "embedder": embedder.version,
            "dim": embedder.dim,
            "items": preview(_new(embedded, work)),
            **_figures(work, boxes.num_rows),
            **budget.figures,
            "seconds": watch.seconds,
        },
    )


def boxes_in(items: pa.Table) -> pa.Table:
    """sha256 and box of ``items``, each once."""
    return items.select(["sha256", "box"]).group_by(["sha256", "box"]).aggregate([])


class _Told:
    """The budget of a step, told in the log of the run before it starts."""

    def __init__(self, context: Context, asset: str, what: str, model: Detector | Embedder) -> None:
        self._context, self._what, self._model = context, what, model
        self._asset = dg.AssetKey(asset)
        self.figures: dict[str, Any] = {}

    def begin(self, lacking: int) -> None:
        look = self._model.detect if isinstance(self._model, Detector) else self._model.embed
        batch = self._model.batch
        budget = plan(self._what, lacking, self._last_known, lambda: measured_speed(look, batch))
        self._context.log.info(budget.sentence)
        self.figures = budget.figures()

    def _last_known(self) -> float | None:
        """Of the latest materialization by this version of the model that had much to do."""
        name = "detector" if isinstance(self._model, Detector) else "embedder"
        made = "detected" if isinstance(self._model, Detector) else "embedded"
        instance: Any = self._context.instance
        records = instance.fetch_materializations(self._asset, limit=_LOOKED_BACK)
        for record in records.records:
            found = record.asset_materialization
            said = {key: value.value for key, value in found.metadata.items()} if found else {}
            if said.get(name) == self._model.version and said.get(made, 0) >= WORTH_MEASURING:
                return float(said["per_second"]) or None
        return None


def _new(rows: pa.Table, work: Work) -> pa.Table:
    """Those of ``rows`` whose pictures were new to the run, or all where none was."""
    new = rows.filter(pc.is_in(rows["sha256"], value_set=pa.array(work.shas, pa.string())))
    return new if new.num_rows else rows


def _figures(work: Work, wanted: int) -> dict[str, Any]:
    return {
        "wanted": wanted,
        "reused": work.reused,
        "failed": sum(work.failed.values()),
        "failed_by_reason": reasons(work.failed),
        "per_second": round(work.per_second, 1),
    }
