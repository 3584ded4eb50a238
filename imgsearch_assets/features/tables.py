"""Boxes of every picture and vectors of every box, computed once for each version of a model.

A picture never changes (its key is its hash), so a row, good or bad, is final; what a table has no row for
is the work. It is done in shards, each written when it is complete: a kill loses one shard.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from imgsearch_assets.progress import Advance, silent
from imgsearch_assets.tables import GrowingTable
from serving.errors import BadImage
from serving.images.box import Box, crop
from serving.models import runtime
from serving.models.detection import Detection
from serving.models.detector import Detector
from serving.models.embedder import Embedder
from serving.models.preprocess import open_picture
from serving.object_store import ObjectStore

Row = dict[str, Any]
Begin = Callable[[int], None]
T = TypeVar("T")

SHARD = 256  # pictures: some seconds of work on two cores

_DETECTION_FIELDS: "list[pa.Field[Any]]" = [
    pa.field("sha256", pa.string()),
    pa.field("status", pa.string()),  # ok | failed
    pa.field("reason", pa.string()),  # of BadImage.REASONS, null when ok
    pa.field("width", pa.int32()),  # pixels, as decoded
    pa.field("height", pa.int32()),
    # The items, the main one first; three lists of one length.
    pa.field("boxes", pa.list_(pa.string())),
    pa.field("categories", pa.list_(pa.string())),
    pa.field("scores", pa.list_(pa.float32())),
]
DETECTIONS = pa.schema(_DETECTION_FIELDS)


def embeddings_schema(dim: int) -> pa.Schema:
    """Rows of an embeddings table. The vector has unit length, and is null where the row failed."""
    return pa.schema(
        {
            "sha256": pa.string(),
            "box": pa.string(),  # Box.key
            "status": pa.string(),  # ok | failed
            "reason": pa.string(),
            "vector": pa.list_(pa.float16(), dim),
        }
    )


def detections_table(store: ObjectStore, version: str) -> GrowingTable:
    """What the detector of that version found, a row a picture."""
    return GrowingTable(store, f"detections/{version}", DETECTIONS, ("sha256",))


def embeddings_table(store: ObjectStore, version: str, dim: int) -> GrowingTable:
    """What the embedder of that version made, a row a box of a picture."""
    return GrowingTable(store, f"embeddings/{version}", embeddings_schema(dim), ("sha256", "box"))


@dataclass(frozen=True)
class Work:
    """What a run did: rows made anew and found already there, failures among the new by reason.

    ``shas`` are the pictures of the new.
    """

    made: int
    reused: int
    failed: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    shas: frozenset[str] = frozenset()

    @property
    def per_second(self) -> float:
        return self.made / self.seconds if self.seconds else 0.0

    def __add__(self, later: "Work") -> "Work":
        """This and then ``later``, of the same rows: what that found there is, in part, of this one."""
        return Work(
            self.made + later.made,
            later.reused - self.made,
            Counter(self.failed) + Counter(later.failed),
            self.seconds + later.seconds,
            self.shas | later.shas,
        )


NOTHING = Work(0, 0)


def detect_pictures(
    store: ObjectStore,
    detector: Detector,
    shas: Sequence[str],
    advance: Advance = silent,
    begin: Begin = silent,
) -> Work:
    """Find the items on the stored pictures ``shas`` that have no row yet; ``advance`` counts pictures.

    ``begin`` hears how many that are before the first is looked at.
    Raises ``NotFound`` when a picture is not in the store.
    """
    wanted = pa.table({"sha256": pa.array(shas, pa.string())})
    table = detections_table(store, detector.version)
    todo = texts(table.lacking(wanted), "sha256")
    distinct = len(set(shas))
    begin(len(todo))
    advance(len(shas) - len(todo))

    def rows(pictures: Sequence[str]) -> list[Row]:
        opened = [_opened(store, sha) for sha in pictures]
        good = [picture for picture in opened if not isinstance(picture, str)]
        found = iter(detector.detect(good))
        return [
            {"sha256": sha, "status": "failed", "reason": picture}
            if isinstance(picture, str)
            else _detection_row(sha, picture, next(found))
            for sha, picture in zip(pictures, opened, strict=True)
        ]

    return _run(table, _chunks(todo, detector.batch), rows, distinct - len(todo), advance)


def embed_boxes(
    store: ObjectStore,
    embedder: Embedder,
    wanted: pa.Table,
    advance: Advance = silent,
    begin: Begin = silent,
) -> Work:
    """Make the vectors of ``wanted`` (sha256, box: ``Box.key``) that have no row yet.

    ``advance`` counts rows, ``begin`` hears how many are lacking before the first is made. Raises
    ``NotFound`` when a picture is not in the store.
    """
    table = embeddings_table(store, embedder.version, embedder.dim)
    wanted = wanted.select(table.key).cast(pa.schema([table.schema.field(name) for name in table.key]))
    todo = table.lacking(wanted).sort_by([("sha256", "ascending"), ("box", "ascending")])
    distinct = wanted.group_by(list(table.key)).aggregate([]).num_rows
    begin(todo.num_rows)
    advance(wanted.num_rows - todo.num_rows)
    pairs = zip(texts(todo, "sha256"), texts(todo, "box"), strict=True)
    by_picture = [(sha, [box for _, box in group]) for sha, group in groupby(pairs, key=lambda pair: pair[0])]

    def rows(pictures: Sequence[tuple[str, list[str]]]) -> list[Row]:
        crops: list[NDArray[np.uint8]] = []
        made: list[Row] = []
        for sha, boxes in pictures:
            picture = _opened(store, sha)
            for box in boxes:
                if isinstance(picture, str):
                    made.append({"sha256": sha, "box": box, "status": "failed", "reason": picture})
                else:
                    crops.append(crop(picture, Box.from_key(box)))
                    made.append({"sha256": sha, "box": box, "status": "ok"})
        vectors = iter(embedder.embed(crops).astype(np.float16))
        return [row | {"vector": next(vectors)} if row["status"] == "ok" else row for row in made]

    chunks = _chunks(by_picture, embedder.batch)
    return _run(table, chunks, rows, distinct - todo.num_rows, advance)


def cuts(pictures: int, each: int, most: int) -> list[tuple[int, int]]:
    """Into which parts (from, to) the work on ``pictures`` is cut: one for ``each`` so many, none for fewer.

    Cut where batches of a processor end, so that what a network is shown together, on which the last digits
    of a vector depend, is what it is shown together by one who does all.
    """
    unit = 1 << (min(SHARD, each).bit_length() - 1)
    units, parts = -(-pictures // unit), min(pictures // each, most)
    ends = [min(pictures, units * number // parts * unit) for number in range(parts + 1)] if parts else []
    return list(pairwise(ends))


def part_of(rows: pa.Table, start: int, stop: int) -> pa.Table:
    """Those of ``rows`` that are of the pictures from ``start`` to ``stop``, in their order."""
    shas = pc.unique(rows["sha256"]).slice(start, stop - start)
    return rows.filter(pc.is_in(rows["sha256"], value_set=shas))


def detections_of(row: Mapping[str, Any]) -> list[Detection]:
    """A row of ``detections_table`` as values."""
    return [
        Detection(Box.from_key(box), category, score)
        for box, category, score in zip(row["boxes"], row["categories"], row["scores"], strict=True)
    ]


def vectors_of(rows: pa.Table) -> NDArray[np.float32]:
    """The vectors of good rows of ``embeddings_table``: float32 (n, d), unit length again after float16."""
    dim = rows.schema.field("vector").type.list_size
    flat = pc.list_flatten(rows["vector"]).to_numpy()
    vectors = flat.astype(np.float32).reshape(rows.num_rows, dim)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def texts(table: pa.Table, column: str) -> list[str]:
    """A column of strings without nulls."""
    return [str(value) for value in table[column].to_pylist()]


def _opened(store: ObjectStore, sha: str) -> NDArray[np.uint8] | str:
    """The picture's pixels, or the reason why there are none."""
    try:
        return open_picture(store.get(f"images/{sha}"))
    except BadImage as error:
        return error.reason


def _detection_row(sha: str, picture: NDArray[np.uint8], found: Sequence[Detection]) -> Row:
    height, width = picture.shape[:2]
    return {
        "sha256": sha,
        "status": "ok",
        "width": width,
        "height": height,
        "boxes": [one.box.key for one in found],
        "categories": [one.category for one in found],
        "scores": [one.score for one in found],
    }


def _chunks(things: Sequence[T], size: int) -> list[Sequence[T]]:
    return [things[start : start + size] for start in range(0, len(things), size)]


def _run(
    table: GrowingTable,
    chunks: Sequence[Sequence[T]],
    rows: Callable[[Sequence[T]], list[Row]],
    reused: int,
    advance: Advance,
) -> Work:
    """Put every chunk through ``rows``, a thread a core, and write a fragment a shard.

    Decoding and the forward pass both let go of the interpreter, so one thread's decoding fills the gaps of
    another's arithmetic; and the threads are at the next shard while one is written.
    """
    started = time.monotonic()
    runtime.tune(threads=1)
    failed: Counter[str] = Counter()
    shas: set[str] = set()
    made = 0
    per_shard = max(1, SHARD // max(map(len, chunks), default=1))
    pool = ThreadPoolExecutor(runtime.cores(), thread_name_prefix="features")
    try:
        for shard in _ahead(pool, rows, _chunks(chunks, per_shard)):
            written: list[Row] = []
            for some in shard:
                written += some
                advance(len(some))
            table.append(pa.Table.from_pylist(written, schema=table.schema))
            made += len(written)
            shas.update(row["sha256"] for row in written)
            failed.update(row["reason"] for row in written if row["status"] == "failed")
    finally:
        pool.shutdown(cancel_futures=True)
    return Work(made, reused, dict(failed), time.monotonic() - started, frozenset(shas))


def _ahead(
    pool: ThreadPoolExecutor,
    rows: Callable[[Sequence[T]], list[Row]],
    shards: Sequence[Sequence[Sequence[T]]],
) -> Iterator[Iterator[list[Row]]]:
    """The rows of each shard as they come, the next shard already handed to the pool."""
    begun: deque[Iterator[list[Row]]] = deque()
    for shard in shards:
        begun.append(pool.map(rows, shard))
        if len(begun) == 2:
            yield begun.popleft()
    yield from begun
