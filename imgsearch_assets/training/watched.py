"""Held-out pictures beside a training of an embedder: a figure an epoch, for the curves alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from imgsearch_assets.datasets.dataset import Dataset, Labelled
from imgsearch_assets.evaluation.evaluate import tasks_of
from imgsearch_assets.evaluation.report import Task
from imgsearch_assets.evaluation.retrieval import Embedded, retrieve
from imgsearch_assets.training.described import PLAIN, Described
from imgsearch_assets.training.metric import Vectors

_SHOWN = ("recall_at_1", "category_precision_at_5")
# Of so many pictures the figure is: more would take longer than the epoch.
_MOST = 1_200


def watched_of(unseen: Dataset, *, kinds: bool) -> tuple[Labelled, ...]:
    """Those of ``unseen`` to watch: whole products; where ``kinds`` are learned, the shop's pictures."""
    some: list[Labelled] = []
    by_product = sorted((one for one in unseen.pictures if one.role != "train"), key=lambda one: one.product)
    for _, pictures in groupby(by_product, key=lambda one: one.product or str(one.path)):
        some += [one for one in pictures if one.kind == "shop" or not kinds]
        if len(some) >= _MOST:
            break
    return tuple(some)


@dataclass(frozen=True)
class Watched:
    """``pictures`` and what the trunk said of them, ``described`` without copies."""

    pictures: tuple[Labelled, ...]
    described: Described

    def figures(self, vectors: Vectors) -> Mapping[str, float]:
        """Of the learned block alone: it is what the training moves."""
        rows = vectors(self.described.rows.reshape(-1, self.described.rows.shape[-1]))
        numbers = {one.path: i for i, one in enumerate(self.pictures)}
        found: dict[str, float] = {}
        for task, (asked, shelf) in tasks_of(self.pictures).items():
            queries, gallery = (
                Embedded(
                    tuple(some),
                    np.concatenate([rows[PLAIN * numbers[one.path] :][:PLAIN] for one in some]),
                    np.repeat(np.arange(len(some)), PLAIN),
                )
                for some in (asked, shelf)
            )
            figures = retrieve(queries, gallery).figures
            found |= {
                f"learned_block_{task}_{name}": figures[name]
                for name in _SHOWN
                if _speaks(task, name, figures)
            }
        return found


def _speaks(task: Task, name: str, figures: Mapping[str, float]) -> bool:
    """Two lines say enough: whether shoppers find the product, and the shop's pictures their kind."""
    return name in figures and (task == "in_shop") == (name == "category_precision_at_5")
