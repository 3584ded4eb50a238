"""What is served: the features in the feature store, then the pointer."""

import dagster as dg
import pyarrow.compute as pc

from imgsearch_assets.automation import ON_CHANGE
from imgsearch_assets.environment import Environment
from imgsearch_assets.feature_rows import fill_feature_store
from imgsearch_assets.freshness import DAILY
from imgsearch_assets.order import newest
from imgsearch_assets.progress import stage
from imgsearch_assets.references import Built, of_one_snapshot
from imgsearch_assets.release import follow_in_milvus, prune, publish
from imgsearch_assets.steps import RELEASE, RETRY, Stopwatch, step
from serving.errors import Conflict, Unverified
from serving.index.artifact import load
from serving.index.part import rows_in
from serving.index.store import read_manifest
from serving.object_store import ObjectStore

GROUP = "release"


@dg.asset(
    group_name=GROUP,
    kinds={"redis"},
    pool=RELEASE,
    retry_policy=RETRY,
    automation_condition=ON_CHANGE,
    description="The features of every picture of the generation, by its URL, in Redis.",
)
def feature_store(
    ann_index: Built,
    environment: dg.ResourceParam[Environment],
    store: dg.ResourceParam[ObjectStore],
) -> dg.MaterializeResult[Built]:
    watch = Stopwatch()
    with step():
        generation = load(store, read_manifest(store, ann_index.generation))
        rows = rows_in(*generation.spans(generation.present()))
        items = generation.items.take(rows)
        with stage("feature store", pc.count_distinct(items["image_url"]).as_py()) as advance:
            filled = fill_feature_store(
                store,
                environment.feature_store,
                generation.manifest.embedder,
                items,
                generation.vectors_of(rows),
                advance,
            )
    return dg.MaterializeResult(
        value=ann_index,
        data_version=dg.DataVersion(ann_index.generation),
        metadata={
            "dagster/row_count": filled.wanted,
            "wanted": filled.wanted,
            "reused": filled.reused,
            "written": filled.written,
            "seconds": watch.seconds,
        },
    )


@dg.asset(
    group_name=GROUP,
    pool=RELEASE,
    retry_policy=RETRY,
    automation_condition=ON_CHANGE,
    freshness_policy=DAILY,
    description="The generation that the search services serve.",
)
def staging_release(
    ann_index: Built,
    feature_store: Built,
    environment: dg.ResourceParam[Environment],
    store: dg.ResourceParam[ObjectStore],
) -> dg.MaterializeResult[Built]:
    watch = Stopwatch()
    with step():
        snapshot = of_one_snapshot(ann_index, feature_store)
        if ann_index != feature_store:
            raise Conflict(
                f"the feature store holds generation {feature_store.generation}, not {ann_index.generation}"
            )
        with newest(store, environment.pointer, snapshot):
            pointer = publish(
                store, environment.pointer, ann_index.generation, who="dagster", why=f"snapshot {snapshot}"
            )
        keep = environment.pipeline.keep_generations
        follow_in_milvus(store, environment.pointer, environment.serving, keep)
        try:
            pruned, not_pruned = prune(store, keep), ""
        except Unverified as error:  # no reason to take back a release
            pruned, not_pruned = [], str(error)
    return dg.MaterializeResult(
        value=ann_index,
        data_version=dg.DataVersion(ann_index.generation),
        metadata={
            "environment": environment.pointer,
            "generation": pointer.live.generation,
            "previous": pointer.previous.generation if pointer.previous else "none",
            "generations_removed": len(pruned),
            **({"not_pruned": not_pruned} if not_pruned else {}),
            "released_at": dg.MetadataValue.timestamp(pointer.live.at),
            "seconds": watch.seconds,
        },
    )
