"""Measure a detector and an embedder on a data set, by the way the product goes.

A gallery picture has the rows that an index has (its item's box and the whole picture), a query searches as a
shopper's does (the box of its main item and the whole picture); the search itself is exact.
"""

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgsearch_assets.datasets.dataset import Dataset, Labelled
from imgsearch_assets.evaluation.detection import detection
from imgsearch_assets.evaluation.report import Boxes, Report, Task
from imgsearch_assets.evaluation.retrieval import Embedded, Retrieval, retrieve
from imgsearch_assets.progress import stage
from serving.errors import BadImage, BadInput
from serving.images.box import Box, crop
from serving.models import runtime
from serving.models.detection import SAME_AS_WHOLE, Detection, item_boxes
from serving.models.detector import Detector
from serving.models.embedder import Embedder
from serving.models.preprocess import open_picture


def evaluate(
    dataset: Dataset, embedder: Embedder, detector: Detector | None = None, boxes: Boxes = "detected"
) -> Report:
    """The report of ``dataset``: pictures to learn from (role ``train``) are left out.

    Where the data set says which pictures ask and which are found, so it is; else street pictures ask the
    shop's, and the shop's ask one another. Raises ``BadInput`` when nothing can be asked, and when boxes are
    to be detected without a detector.
    """
    if boxes == "detected" and detector is None:
        raise BadInput("boxes are to be detected, and there is no detector; say boxes 'true' or 'whole'")
    started = time.monotonic()
    tasks = tasks_of(dataset.pictures)
    used = [one for asked, shelf in tasks.values() for one in (*asked, *shelf)]
    known = used if detector is None else [one for one in dataset.pictures if one.role != "train"]
    seen = _see(known, tasks, embedder, detector, boxes)
    retrieval: dict[Task, Retrieval] = {}
    for task, (asked, shelf) in tasks.items():
        queries, gallery = seen.embedded(asked, asking=True), seen.embedded(shelf, asking=False)
        with stage(f"searching {task.replace('_', ' ')}", len(queries.pictures)) as advance:
            retrieval[task] = retrieve(queries, gallery, advance)
    figures = detection(known, seen.found, detector.categories) if detector else {}
    return Report(
        dataset.name,
        dataset.version,
        embedder.version,
        detector.version if detector else None,
        boxes,
        retrieval,
        figures,
        {one.path: seen.query_box(one) for asked, _ in tasks.values() for one in asked if seen.opened(one)},
        dict(Counter(dataset.skipped) + Counter(seen.failed.values())),
        time.monotonic() - started,
    )


Asked = tuple[list[Labelled], list[Labelled]]


def tasks_of(pictures: Sequence[Labelled]) -> dict[Task, Asked]:
    """Which pictures ask, and which are there to be found. Raises ``BadInput`` when there is neither."""
    own = any(one.role == "query" for one in pictures)
    rest = [one for one in pictures if one.role != "train"]
    shelf = [one for one in rest if (one.role == "gallery" if own else one.kind == "shop")]
    asking = [one for one in rest if one.role == "query"] if own else rest
    tasks: dict[Task, Asked] = {
        "street_to_shop": ([one for one in asking if one.kind == "street"], shelf),
        "self": ([one for one in asking if one.kind == "again"], shelf),
        "in_shop": ([one for one in asking if one.kind == "shop"], shelf),
    }
    tasks = {task: both for task, both in tasks.items() if all(both)}
    if not tasks:
        raise BadInput(
            "nothing to measure: no picture asks (street, or role query) and is found (shop, gallery)"
        )
    return tasks


@dataclass(frozen=True)
class _Seen:
    """What the models said of every picture that could be opened; of the others, why not."""

    boxes: Boxes
    found: dict[Path, list[Detection]]
    vectors: dict[tuple[Path, Box], NDArray[np.float32]]
    failed: dict[Path, str]

    def opened(self, one: Labelled) -> bool:
        return one.path not in self.failed

    def rows(self, one: Labelled, *, asking: bool) -> list[Box]:
        """The boxes that a picture searches with, or is found by."""
        if self.boxes == "whole":
            return [Box.whole()]
        if self.boxes == "true":
            same = one.box.iou(Box.whole()) > SAME_AS_WHOLE
            return [one.box] if same else [one.box, Box.whole()]
        # A shopper does not say what it is; the catalogue does.
        return item_boxes(self.found[one.path], None if asking else one.category)

    def query_box(self, one: Labelled) -> Box:
        return self.rows(one, asking=True)[0]

    def embedded(self, pictures: Sequence[Labelled], *, asking: bool) -> Embedded:
        there = tuple(one for one in pictures if self.opened(one))
        if not there:
            raise BadInput("nothing to measure: none of the pictures could be opened")
        rows = [
            (number, self.vectors[one.path, box])
            for number, one in enumerate(there)
            for box in self.rows(one, asking=asking)
        ]
        numbers, vectors = zip(*rows, strict=True)
        return Embedded(there, np.stack(vectors), np.array(numbers, np.int64))


def _see(
    known: Sequence[Labelled],
    tasks: dict[Task, Asked],
    embedder: Embedder,
    detector: Detector | None,
    boxes: Boxes,
) -> _Seen:
    """Open every picture once; find its items, and embed the boxes that the tasks need of it."""
    needs: dict[Path, list[tuple[Labelled, bool]]] = {one.path: [] for one in known}
    for asked, shelf in tasks.values():
        for asking, side in ((True, asked), (False, shelf)):
            for one in side:
                needs[one.path].append((one, asking))
    seen = _Seen(boxes, {}, {}, {})
    paths = list(needs)
    runtime.tune(threads=1)
    chunks = [paths[start : start + embedder.batch] for start in range(0, len(paths), embedder.batch)]
    with (
        stage("looking at the pictures", len(paths)) as advance,
        ThreadPoolExecutor(runtime.cores(), thread_name_prefix="evaluate") as pool,
    ):
        for done in pool.map(partial(_look, seen, needs, embedder, detector), chunks):
            advance(done)
    return seen


def _look(
    seen: _Seen,
    needs: dict[Path, list[tuple[Labelled, bool]]],
    embedder: Embedder,
    detector: Detector | None,
    paths: Sequence[Path],
) -> int:
    """Fill ``seen`` with what the models say of ``paths``; how many that were."""
    pictures: dict[Path, NDArray[np.uint8]] = {}
    for path in paths:
        try:
            pictures[path] = open_picture(path.read_bytes())
        except BadImage as error:
            seen.failed[path] = error.reason
    if detector is not None:
        seen.found.update(zip(pictures, detector.detect(list(pictures.values())), strict=True))
    wanted = dict.fromkeys(
        (path, box)
        for path in pictures
        for one, asking in needs[path]
        for box in seen.rows(one, asking=asking)
    )
    if wanted:
        vectors = embedder.embed([crop(pictures[path], box) for path, box in wanted])
        seen.vectors.update(zip(wanted, vectors, strict=True))
    return len(paths)
