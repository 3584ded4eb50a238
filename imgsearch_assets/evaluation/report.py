"""What an evaluation found, for machines and for people."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table

from imgsearch_assets.evaluation.retrieval import Retrieval, flat
from imgsearch_assets.figures import rounded, shown, words
from serving.images.box import Box

# Whose boxes are searched with and found by: the detector's, the data set's own, or the whole picture alone.
Boxes = Literal["detected", "true", "whole"]
# What is asked for: a shopper's picture finds its product, an altered one what it was made of, a shop's
# picture its product's other pictures.
Task = Literal["street_to_shop", "self", "in_shop"]

_COLUMNS = ("queries", "recall_at_1", "recall_at_10", "recall_at_20", "map_at_10", "category_precision_at_5")


@dataclass(frozen=True)
class Report:
    """Figures of one detector and one embedder on one data set, and the rankings behind them."""

    dataset: str
    dataset_version: str
    embedder: str
    detector: str | None
    boxes: Boxes
    retrieval: Mapping[Task, Retrieval]
    detection: Mapping[str, float]
    # The box each query searched with, beside the whole picture.
    query_boxes: Mapping[Path, Box]
    skipped: Mapping[str, int]  # pictures left out, by reason
    seconds: float

    @property
    def figures(self) -> dict[str, float]:
        """Every overall figure by a name of its own: ``street_to_shop_recall_at_1``, ``detector_ap50``."""
        parts = {str(task): found.figures for task, found in self.retrieval.items()}
        return flat({**parts, "detector": self.detection})

    def worst(self, count: int) -> list[tuple[Task, int]]:
        """``Retrieval.worst`` over all tasks: the task, and the query's number in it."""
        late = [
            (-int(found.ranks[i]), float(found.kin[i, 4]), task, i)
            for task, found in self.retrieval.items()
            for i in found.worst(count)
        ]
        return [(task, i) for _, _, task, i in sorted(late)[:count]]

    def to_json(self) -> bytes:
        """Everything but the single rankings."""
        said = {
            "dataset": self.dataset,
            "dataset_version": self.dataset_version,
            "embedder": self.embedder,
            "detector": self.detector,
            "boxes": self.boxes,
            "figures": rounded(self.figures),
            "by_category": {
                task: {name: rounded(figures) for name, figures in found.by_category.items()}
                for task, found in self.retrieval.items()
            },
            "by_kind": {
                task: {name: rounded(figures) for name, figures in found.by_kind.items()}
                for task, found in self.retrieval.items()
            },
            "ranks": {task: found.ranks.tolist() for task, found in self.retrieval.items()},
            "skipped": dict(self.skipped),
            "seconds": round(self.seconds, 1),
        }
        return json.dumps(said, indent=1).encode()

    def tables(self) -> list[Table]:
        """A table for the terminal of each task, overall and by category, and one of the detector."""
        tables = []
        for task, found in self.retrieval.items():
            table = Table(title=task.replace("_", " "), title_justify="left", box=SIMPLE_HEAD)
            table.add_column("")
            for column in _COLUMNS:
                table.add_column(words(column), justify="right")
            for name, figures in [("all", found.figures), *found.by_category.items()]:
                table.add_row(name, *(shown(column, figures.get(column)) for column in _COLUMNS))
            tables.append(table)
        if self.detection:
            table = Table("detector", "", box=SIMPLE_HEAD)
            for name, value in self.detection.items():
                table.add_row(words(name), shown(name, value))
            tables.append(table)
        return tables
