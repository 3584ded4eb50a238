"""What a change of the catalogue makes of the index that is live: nothing, a delta, or a new base.

A delta is compared row by row in every search, and what it takes away is still met in the graph, so deltas
are kept small; past that everything is built anew, which is their compaction.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from imgsearch_assets.catalogue.diff import difference
from imgsearch_assets.catalogue.snapshot import live_manifest
from imgsearch_assets.index.duplicates import Alike, with_groups
from imgsearch_assets.index.generation import build_delta, build_generation
from imgsearch_assets.progress import Advance, silent
from serving.errors import NotFound, Unverified
from serving.index.artifact import load
from serving.index.filters import Filter
from serving.index.generation import FORMAT, GRAPH, GROUPS, ITEMS, Manifest
from serving.index.loaded import Generation
from serving.index.part import rows_in
from serving.index.search import search_each
from serving.object_store import ObjectStore

# Rows of all deltas: comparing so many takes a search about as long as the graph. And their number of files.
MAX_DELTA_ROWS = 5_000
MAX_DELTAS = 40
# Part of the stored products that came in deltas or went.
MAX_CHANGED = 0.1
# Nearest products that a new one is grouped with.
_NEAREST = 64


@dataclass(frozen=True)
class Models:
    """What made the vectors, and how the preprocessing is known."""

    embedder: str
    preprocessing: str
    detector: str


@dataclass(frozen=True, eq=False)
class Wanted:
    """The index that there should be: tables as ``build_generation``'s, ``vectors`` float32 (n, d)."""

    products: pa.Table
    items: pa.Table
    vectors: NDArray[np.float32]
    models: Models
    snapshot: str


@dataclass(frozen=True, eq=False)
class Built:
    """The generation that was wanted, as it is loaded; how it came about, and what grouping took."""

    manifest: Manifest
    generation: Generation
    plan: "BuildPlan"
    grouping_seconds: float


def build(
    store: ObjectStore,
    environment: str,
    wanted: Wanted,
    alike: Alike,
    graph: str = GRAPH,
    advance: Advance = silent,
) -> Built:
    """Build what is ``wanted`` from what is live in ``environment``, or anew; loaded as a replica would.

    ``graph`` is one of ``generation.FACTORY``; ``advance`` is told of every row. Raises as
    ``build_generation``, ``build_delta`` and ``load``.
    """
    before, why = _live(store, environment, wanted.models, graph)
    plan = plan_build(before, wanted) if before else BuildPlan("full", why)
    started = time.monotonic()
    if before is None or plan.kind == "full":
        grouped = with_groups(wanted.products, wanted.items, wanted.vectors, alike).products
        seconds = time.monotonic() - started
        manifest = build_generation(
            store,
            grouped,
            wanted.items,
            wanted.vectors,
            **vars(wanted.models),
            snapshot=wanted.snapshot,
            graph=graph,
            advance=advance,
        )
        return Built(manifest, load(store, manifest), plan, seconds)
    advance(len(wanted.vectors))
    if plan.kind == "nothing":
        return Built(before.manifest, before, plan, 0)
    products, items, vectors = parts_of(plan.come, wanted.products, wanted.items, wanted.vectors)
    grouped = grouped_beside(before, products, items, vectors, plan.gone, alike)
    seconds = time.monotonic() - started
    manifest = build_delta(
        store, before.manifest, grouped, items, vectors, plan.gone, snapshot=wanted.snapshot
    )
    return Built(manifest, load(store, manifest, before), plan, seconds)


def _live(store: ObjectStore, environment: str, models: Models, graph: str) -> tuple[Generation | None, str]:
    """What is live and can be built upon; else why there is no such."""
    try:
        live = live_manifest(store, environment)
        if live is None:
            return None, "nothing is live"
        if live.format != FORMAT:
            return None, f"what is live is of format {live.format}"
        if models != Models(live.embedder, live.preprocessing, live.detector):
            return None, "another model than that of what is live"
        if live.graph != graph:
            return None, f"what is live has a base {live.graph}, wanted is {graph}"
        return load(store, live), ""
    except (NotFound, Unverified) as error:  # of another catalogue, a new base is written whole
        return None, f"what is live cannot be built upon: {error}"


@dataclass(frozen=True)
class BuildPlan:
    """How to get to the index that is wanted, and a sentence that says why.

    ``come``: products that are to be written, ``gone``: ids of the live generation that are no longer right.
    """

    kind: Literal["nothing", "delta", "full"]
    why: str
    come: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()


def plan_build(before: Generation, wanted: Wanted) -> BuildPlan:
    """How ``before``, of the same models, becomes the index that is ``wanted``; no IO."""
    live, live_products, live_items = before.manifest, before.products, before.items
    if before.alive is not None:
        present = before.present()
        live_products, live_items = (
            live_products.take(present),
            live_items.take(rows_in(*before.spans(present))),
        )
    products, items = wanted.products, wanted.items
    shown = products.filter(pc.is_in(products["product_id"], value_set=_ids(items)))
    change = difference(shown, live_products)
    changed = {
        str(name)
        for table in (change.new, change.removed, change.repictured, change.touched, change.reattributed)
        for name in table["product_id"].to_pylist()
    } | _with_other_items(items, live_items)
    if not changed:
        return BuildPlan("nothing", "the live generation is what is wanted")
    come, gone = _among(changed, _ids(shown)), _among(changed, _ids(live_products))
    own = items.filter(pc.is_in(items["product_id"], value_set=pa.array(sorted(come), pa.string())))
    rows = own.num_rows + sum(delta.rows for delta in live.deltas)
    touched = len(changed) + sum(max(delta.products, delta.removed) for delta in live.deltas)
    said = f"{len(come)} products come, {len(gone)} of before go"
    if rows > MAX_DELTA_ROWS:
        return BuildPlan("full", f"{said}: deltas would have {rows} rows, more than {MAX_DELTA_ROWS}")
    if len(live.deltas) >= MAX_DELTAS:
        return BuildPlan("full", f"{said}: there are {MAX_DELTAS} deltas already")
    if touched > MAX_CHANGED * live.base_products:
        return BuildPlan(
            "full", f"{said}: {touched} changed of {live.base_products}, more than {MAX_CHANGED:.0%}"
        )
    return BuildPlan("delta", said, come, gone)


def _ids(table: pa.Table) -> Any:
    return table["product_id"].combine_chunks()


def _set(ids: Any) -> set[str]:
    return {str(name) for name in ids.to_pylist()}


def _among(names: set[str], ids: Any) -> frozenset[str]:
    """Those of a few ``names`` that are among many ``ids``."""
    return frozenset(_set(ids.filter(pc.is_in(ids, value_set=pa.array(sorted(names), pa.string())))))


def _with_other_items(items: pa.Table, live_items: pa.Table) -> set[str]:
    """The products whose items are not the same in both."""
    found: set[str] = set()
    keys = [_key(items), _key(live_items)]
    for table, own, other in ((items, *keys), (live_items, *keys[::-1])):
        found |= _set(table.filter(pc.invert(pc.is_in(own, value_set=other)))["product_id"].unique())
    return found


def _key(items: pa.Table) -> Any:
    """Everything of an item as one text; no column holds a line break."""
    join: Any = pc.binary_join_element_wise  # whose stub forgets the separator
    return join(*(items[name] for name in ITEMS.names), "\n").combine_chunks()


def parts_of(
    ids: Collection[str], products: pa.Table, items: pa.Table, vectors: NDArray[np.float32]
) -> tuple[pa.Table, pa.Table, NDArray[np.float32]]:
    """What belongs to some products, vectors float32 (n, d) with the items."""
    wanted = pa.array(sorted(ids), pa.string())
    own = pc.is_in(items["product_id"], value_set=wanted)
    return (
        products.filter(pc.is_in(products["product_id"], value_set=wanted)),
        items.filter(own),
        vectors[np.asarray(own)],
    )


def grouped_beside(
    live: Generation,
    products: pa.Table,
    items: pa.Table,
    vectors: NDArray[np.float32],
    gone: Collection[str],
    alike: Alike,
) -> pa.Table:
    """``products`` that come, with ``generation.GROUPS``: compared with each other and with what is near.

    Near are, of ``live`` without ``gone``, the products nearest to each row; a product that is grouped with
    one of them joins its group. Everything is compared with everything when a base is built.
    """
    near = _near(live, vectors, live.mask(Filter(excluded=frozenset(gone))))
    before = live.products.select(products.column_names).take(near).cast(products.schema)
    rows = rows_in(*live.spans(near))
    grouped = with_groups(
        pa.concat_tables([products, before]),
        pa.concat_tables([items.select(ITEMS.names), live.items.select(ITEMS.names).take(rows)]),
        np.concatenate([vectors, _unit(live.vectors_of(rows))]),
        alike,
    ).products
    names = [str(name) for name in grouped["product_id"].to_pylist()]
    count = products.num_rows
    for column in GROUPS.names:
        groups = [str(name) for name in grouped[column].to_pylist()]
        # A group goes by one of its products that stays; where none does, by the first that comes.
        stays = dict(zip(reversed(groups[count:]), reversed(names[count:]), strict=True))
        first: dict[str, str] = {}
        told = [
            stays.get(group) or first.setdefault(group, name)
            for name, group in zip(names[:count], groups[:count], strict=True)
        ]
        products = products.append_column(column, pa.array(told, pa.string()))
    return products


def _near(
    live: Generation, vectors: NDArray[np.float32], there: NDArray[np.bool_] | None
) -> NDArray[np.int64]:
    """int64: the products of ``there`` nearest to each of ``vectors``, one of each group."""
    each = search_each(live, list(vectors[:, None]), _NEAREST, there, collapse="picture")
    return np.array(sorted({hit.product for found in each for hit in found.hits}), np.int64)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)  # type: ignore[no-any-return]
