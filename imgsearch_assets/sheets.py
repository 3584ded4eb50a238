"""Pictures for the eyes of whoever looks at a materialization: small JPEGs inside the metadata itself."""

import base64
import heapq
import zlib
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgsearch_assets.features.tables import detections_of
from imgsearch_assets.images.store import picture_key
from imgsearch_assets.pictures import Picture, before_and_after, boxes_drawn, contact_sheet, neighbours
from serving.errors import NotFound
from serving.images.box import Box
from serving.images.decode import decode
from serving.index.collapse import Collapse
from serving.index.loaded import Generation
from serving.index.search import search
from serving.object_store import ObjectStore

T = TypeVar("T")

_SHEET = 24
_BOXES = 18
_GOLDEN, _QUERIES, _NEIGHBOURS = 50, 5, 6
_GROUPS = 8
# Scaled decoding: a tile is smaller.
_AT_LEAST = 160


def sheet_of(store: ObjectStore, pictures: pa.Table, changes: pa.Table) -> dg.MarkdownMetadataValue:
    """A contact sheet of ``PICTURES``: of products of ``changes`` where they have any, else of all."""
    wanted = pictures.filter(
        pc.is_in(pictures["product_id"], value_set=changes["product_id"].combine_chunks())
    )
    shas = _some((wanted if wanted.num_rows else pictures)["sha256"].to_pylist(), _SHEET)
    return inline("new pictures", contact_sheet([_open(store, str(sha)) for sha in shas]))


def boxes_of(store: ObjectStore, detections: pa.Table) -> dg.MarkdownMetadataValue:
    """Rows of a detections table, some of them, with their boxes drawn."""
    good = detections.filter(pc.equal(detections["status"], pa.scalar("ok")))
    rows = good.take(pa.array(_some(range(good.num_rows), _BOXES))).to_pylist()
    found = [(_open(store, row["sha256"]), detections_of(row)) for row in rows]
    return inline("items found", boxes_drawn(found))


class Neighbours(NamedTuple):
    """A picture of some products' neighbours, and the share of all golden ones' that were there before."""

    shown: dg.MarkdownMetadataValue
    kept: float | None


def neighbours_of(store: ObjectStore, generation: Generation, before: Generation | None = None) -> Neighbours:
    """Golden products and what is most like them, as the index answers; above it, what ``before`` answers.

    Golden are those whose ids hash lowest: the same from one generation to the next, while they are there.
    """

    def picture(of: Generation, row: int) -> Picture:
        return _open(store, of.items["sha256"][row].as_py())

    golden = _golden(generation, before)
    now = {name: _nearest(generation, name) for name in golden}
    queries = []
    for name in golden[:_QUERIES]:
        row = generation.first_row(_place(generation, name))
        queries.append((name, picture(generation, row), Box.from_key(str(generation.items["box"][row]))))
    if before is None:
        rows = [
            (query, box, [picture(generation, row) for row in now[n].values()]) for n, query, box in queries
        ]
        return Neighbours(inline("products and their neighbours", neighbours(rows)), None)
    then = {name: _nearest(before, name) for name in golden}
    pairs = [
        (
            query,
            box,
            [picture(before, row) for row in then[name].values()],
            [(picture(generation, row), other not in then[name]) for other, row in now[name].items()],
        )
        for name, query, box in queries
    ]
    wanted = sum(len(then[name]) for name in golden)
    kept = sum(len(then[name].keys() & now[name].keys()) for name in golden)
    title = f"neighbours before ({before.manifest.id}) and now, green what came in"
    return Neighbours(inline(title, before_and_after(pairs)), kept / wanted if wanted else None)


def _golden(generation: Generation, before: Generation | None) -> list[str]:
    """Ids of products of both, the golden ones first."""
    ids = map(str, generation.products["product_id"].take(generation.present()).to_pylist())
    there = (name for name in ids if before is None or before.place(name) is not None)
    return heapq.nsmallest(_GOLDEN, there, key=lambda name: zlib.crc32(name.encode()))


def _nearest(generation: Generation, name: str) -> dict[str, int]:
    """Other products most like a product, the nearest first, each with the row that is."""
    place = _place(generation, name)
    hits = search(generation, generation.vectors(place), _NEIGHBOURS + 1).hits
    others = [hit for hit in hits if hit.product != place][:_NEIGHBOURS]
    return {generation.id_of(hit.product): hit.row for hit in others}


def _place(generation: Generation, name: str) -> int:
    place = generation.place(name)
    if place is None:
        raise NotFound(f"there is no product {name} in generation {generation.manifest.id}")
    return place


def groups_of(store: ObjectStore, generation: Generation, kind: Collapse) -> dg.MarkdownMetadataValue:
    """How many groups have several products, and some of them with a picture of each, the largest first."""
    grouping = generation.groupings[kind]
    sizes = grouping.sizes(generation.alive)
    several = np.flatnonzero(sizes > 1)
    there = generation.everything()
    largest = several[np.argsort(-sizes[several], kind="stable")]

    def picture(product: int) -> Picture:
        return _open(store, generation.items["sha256"][generation.first_row(product)].as_py())

    rows = []
    for group in _some(largest.tolist(), _GROUPS):
        shown = [int(member) for member in grouping.all_of(group) if there[member]]
        rows.append(
            (picture(shown[0]), Box.whole(), [picture(other) for other in shown[1 : _NEIGHBOURS + 1]])
        )
    said = f"{len(several)} {kind} groups of more than one product"
    if not rows:
        return dg.MetadataValue.md(said)
    return dg.MetadataValue.md(f"{said}\n\n{inline(f'{kind} groups', neighbours(rows)).value}")


def _some(things: Sequence[T], count: int) -> list[T]:
    """At most ``count`` of ``things``, spread over them."""
    places = range(len(things)) if len(things) <= count else np.linspace(0, len(things) - 1, count)
    return [things[int(place)] for place in places]


def _open(store: ObjectStore, sha: str) -> Picture:
    return decode(store.get(picture_key(sha)), at_least=_AT_LEAST)


def inline(title: str, picture: bytes) -> dg.MarkdownMetadataValue:
    """A picture, JPEG or PNG, inside the metadata itself."""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return dg.MetadataValue.md(f"![{title}](data:image/{kind};base64,{base64.b64encode(picture).decode()})")
