"""Boxes and vectors on a cluster: the assets of ``features``, with parts of the work in pods of their own.

What the table lacks is cut by its pictures, each part fills its own, and the last step does what is lacking
still, as the one step of one machine does all. Few pictures make no part: that step is in the run's
own pod, and a pod with a GPU would take longer to come than they take.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from imgsearch_assets.assets.features import (
    DETECTIONS,
    EMBEDDINGS,
    GROUP,
    KINDS,
    boxes_in,
    detected,
    embedded,
)
from imgsearch_assets.automation import ON_CHANGE
from imgsearch_assets.catalogue.snapshot import keep
from imgsearch_assets.environment import Environment
from imgsearch_assets.features.tables import (
    Work,
    cuts,
    detect_pictures,
    detections_table,
    embed_boxes,
    embeddings_table,
    part_of,
    texts,
)
from imgsearch_assets.graph.steps import GPU, step
from imgsearch_assets.progress import stage
from imgsearch_assets.references import EmbeddedItems, Items, Model, Part, PartDone, Pictures
from imgsearch_assets.tables import read_parquet
from serving.models.bundle import load_bundle
from serving.models.detector import Detector
from serving.models.embedder import Embedder
from serving.object_store import ObjectStore

_SHOWN = 64  # pictures of a part that the asset may show


@dg.op(out=dg.DynamicOut(Part))
def detections_plan(
    context: dg.OpExecutionContext,
    product_images: Pictures,
    item_detector: Model,
    environment: dg.ResourceParam[Environment],
    store: dg.ResourceParam[ObjectStore],
) -> Iterator[dg.DynamicOutput[Part]]:
    with step():
        wanted = read_parquet(store, product_images.key).select(["sha256"])
        lacking = detections_table(store, item_detector.version).lacking(wanted)
    yield from _parts(context, environment, store, lacking, product_images.snapshot, item_detector)


@dg.op
def detections_part(part: Part, store: dg.ResourceParam[ObjectStore]) -> PartDone:
    with step():
        shas = part_of(read_parquet(store, part.key), part.start, part.stop)
        detector = Detector(load_bundle(store, part.model.name, part.model.version))
        with stage("items", shas.num_rows) as advance:
            return _done(detect_pictures(store, detector, texts(shas, "sha256"), advance))


@dg.op(pool=GPU)
def detections_finish(
    context: dg.OpExecutionContext,
    product_images: Pictures,
    item_detector: Model,
    parts: list[PartDone],
    store: dg.ResourceParam[ObjectStore],
) -> dg.Output[Items]:
    return _output(detected(context, product_images, item_detector, store, _together(parts)))


@dg.graph_asset(group_name=GROUP, kinds=KINDS, automation_condition=ON_CHANGE, description=DETECTIONS)
def item_detections(product_images: Any, item_detector: Any) -> Any:
    parts = detections_plan(product_images, item_detector).map(detections_part).collect()
    return detections_finish(product_images, item_detector, parts)


@dg.op(out=dg.DynamicOut(Part))
def embeddings_plan(
    context: dg.OpExecutionContext,
    item_detections: Items,
    item_embedder: Model,
    environment: dg.ResourceParam[Environment],
    store: dg.ResourceParam[ObjectStore],
) -> Iterator[dg.DynamicOutput[Part]]:
    with step():
        card = load_bundle(store, item_embedder.name, item_embedder.version).card
        table = embeddings_table(store, item_embedder.version, card.dim or 0)
        lacking = table.lacking(boxes_in(read_parquet(store, item_detections.key)))
        lacking = lacking.sort_by([(name, "ascending") for name in table.key])  # as they are embedded
    yield from _parts(context, environment, store, lacking, item_detections.snapshot, item_embedder)


@dg.op
def embeddings_part(part: Part, store: dg.ResourceParam[ObjectStore]) -> PartDone:
    with step():
        boxes = part_of(read_parquet(store, part.key), part.start, part.stop)
        embedder = Embedder(load_bundle(store, part.model.name, part.model.version))
        with stage("vectors", boxes.num_rows) as advance:
            return _done(embed_boxes(store, embedder, boxes, advance))


@dg.op(pool=GPU)
def embeddings_finish(
    context: dg.OpExecutionContext,
    item_detections: Items,
    item_embedder: Model,
    parts: list[PartDone],
    store: dg.ResourceParam[ObjectStore],
) -> dg.Output[EmbeddedItems]:
    return _output(embedded(context, item_detections, item_embedder, store, _together(parts)))


@dg.graph_asset(group_name=GROUP, kinds=KINDS, automation_condition=ON_CHANGE, description=EMBEDDINGS)
def item_embeddings(item_detections: Any, item_embedder: Any) -> Any:
    parts = embeddings_plan(item_detections, item_embedder).map(embeddings_part).collect()
    return embeddings_finish(item_detections, item_embedder, parts)


def _parts(
    context: dg.OpExecutionContext,
    environment: Environment,
    store: ObjectStore,
    lacking: pa.Table,
    snapshot: str,
    model: Model,
) -> Iterator[dg.DynamicOutput[Part]]:
    """Of what is ``lacking``, with a column sha256, in the order in which it is done."""
    pictures = pc.count_distinct(lacking["sha256"]).as_py()
    found = cuts(pictures, environment.pipeline.part_pictures, environment.pipeline.most_parts)
    context.log.info(f"{pictures:,} pictures are lacking: {len(found) or 'no'} pods beside the run's")
    key = keep(store, snapshot, "lacking", lacking) if found else ""
    for number, (start, stop) in enumerate(found):
        part = Part(start=start, stop=stop, key=key, model=model)
        yield dg.DynamicOutput(part, mapping_key=str(number))


def _done(work: Work) -> PartDone:
    shas = tuple(sorted(work.shas)[:_SHOWN])
    return PartDone(made=work.made, failed=dict(work.failed), seconds=work.seconds, shas=shas)


def _together(parts: Sequence[PartDone]) -> Work:
    """Work of parts that were at it at once."""
    failed: Counter[str] = Counter()
    for part in parts:
        failed.update(part.failed)
    return Work(
        made=sum(part.made for part in parts),
        reused=0,
        failed=failed,
        seconds=max((part.seconds for part in parts), default=0.0),
        shas=frozenset(sha for part in parts for sha in part.shas),
    )


def _output(made: dg.MaterializeResult[Any]) -> dg.Output[Any]:
    with warnings.catch_warnings():
        # That an op names its data version; assets in one step do, without a word.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.Output(made.value, data_version=made.data_version, metadata=made.metadata)
