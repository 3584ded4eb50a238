"""The index as it will be served, and the gates it has to pass."""

from collections.abc import Iterator

import dagster as dg

from imgsearch_assets.automation import ON_CHANGE
from imgsearch_assets.catalogue.snapshot import if_readable, live_manifest, products_key, with_vectors
from imgsearch_assets.environment import Environment
from imgsearch_assets.features.tables import embeddings_table, vectors_of
from imgsearch_assets.gates.checks import blocking, results
from imgsearch_assets.gates.generation import run_gates
from imgsearch_assets.gates.parity import parity
from imgsearch_assets.gates.sanity import coverage
from imgsearch_assets.gates.waivers import in_force, needed
from imgsearch_assets.graph.steps import GPU, Stopwatch, step
from imgsearch_assets.index.increment import Models, Wanted, build
from imgsearch_assets.progress import stage
from imgsearch_assets.references import Built, EmbeddedItems
from imgsearch_assets.sheets import groups_of, neighbours_of
from imgsearch_assets.tables import read_parquet
from imgsearch_assets.watch.freshness import DAILY
from serving.errors import NotFound, Unavailable, Unverified
from serving.index.artifact import load
from serving.index.generation import Manifest
from serving.index.groups import COLUMN
from serving.index.loaded import Generation
from serving.models import embedder
from serving.models.bundle import load_bundle
from serving.object_store import ObjectStore

GATES = {
    "enough_products": "Not many fewer products than are live.",
    "recall_at_10_vs_exact": "The graph finds what an exact search finds.",
    "unit_norms": "Every vector has length one.",
    "golden_queries": "Products are found by their own vectors.",
    "filters_filled": "Every value of every filter answers in full.",
    "coverage": "What can be bought can be found.",
    "parity": "What serves sees what the pipeline saw: vectors made again are the same.",
}


@dg.asset(
    group_name="index",
    kinds={"faiss"},
    pool=GPU,
    automation_condition=ON_CHANGE,
    freshness_policy=DAILY,
    check_specs=blocking("ann_index", GATES),
    description="A generation of the index: immutable files and a manifest. Its gates stop a bad one.",
)
def ann_index(
    item_embeddings: EmbeddedItems,
    environment: dg.ResourceParam[Environment],
    store: dg.ResourceParam[ObjectStore],
) -> Iterator[dg.MaterializeResult[Built]]:
    watch = Stopwatch()
    with step():
        card = load_bundle(store, embedder.NAME, item_embeddings.embedder).card
        table = embeddings_table(store, item_embeddings.embedder, card.dim or 0)
        items = with_vectors(read_parquet(store, item_embeddings.key), table.read())
        vectors, items = vectors_of(items), items.drop_columns(["vector"])
        products = read_parquet(store, products_key(item_embeddings.snapshot))
        models = Models(item_embeddings.embedder, card.preprocessing.fingerprint, item_embeddings.detector)
        wanted = Wanted(products, items, vectors, models, item_embeddings.snapshot)
        with stage("index", items.num_rows) as advance:
            built = build(
                store,
                environment.pointer,
                wanted,
                environment.alike,
                environment.pipeline.index_factory,
                advance,
            )
        manifest, generation = built.manifest, built.generation
        live = if_readable(lambda: live_manifest(store, environment.pointer))
        gates = run_gates(generation, live)
        gates.append(coverage(products, generation, environment.bounds))
        gates.append(parity(store, generation, environment.serving))
        waivers = in_force(store, environment.pointer)
        neighbours = neighbours_of(store, generation, _before(store, generation, live))
        groups = {f"{kind}_groups": groups_of(store, generation, kind) for kind in COLUMN}
    yield dg.MaterializeResult(
        value=Built(
            snapshot=item_embeddings.snapshot,
            generation=manifest.id,
            waived=item_embeddings.waived + needed(gates, waivers),
        ),
        data_version=dg.DataVersion(manifest.id),
        metadata={
            "dagster/row_count": manifest.rows,
            "generation": manifest.id,
            "products": manifest.products,
            "vectors": manifest.rows,
            "dim": manifest.dim,
            "graph": manifest.graph,
            "size_bytes": sum(segment.size_bytes for segment in manifest.files),
            "recall_at_10_vs_exact": manifest.figures.recall_at_10,
            "neighbours": neighbours.shown,
            **({} if neighbours.kept is None else {"neighbours_kept": neighbours.kept}),
            **_sizes(generation),
            **groups,
            "build": built.plan.kind,
            "why": built.plan.why,
            "deltas": len(manifest.deltas),
            "grouping_seconds": built.grouping_seconds,
            "seconds": watch.seconds,
        },
        check_results=results(gates, waivers, environment.command),
    )


def _before(store: ObjectStore, generation: Generation, live: Manifest | None) -> Generation | None:
    """What is live, to be compared with; None where it cannot be loaded beside the new one."""
    if live is None or live == generation.manifest:
        return None if live is None else generation
    try:
        return load(store, live, generation)
    except (NotFound, Unavailable, Unverified):
        return None


def _sizes(generation: Generation) -> dict[str, int]:
    """How many products the groups hold that have more than one, and the most that one holds."""
    found = {}
    for kind in COLUMN:
        sizes = generation.groupings[kind].sizes(generation.alive)
        found[f"products_in_{kind}_groups"] = int(sizes[sizes > 1].sum())
        found[f"largest_{kind}_group"] = int(sizes.max())
    return found
