import io
import json

import pytest
from rich.console import Console

from imgsearch_assets.evaluation.report import Report
from imgsearch_assets.figures import shown, words


def test_as_json(report: Report) -> None:
    said = json.loads(report.to_json())
    assert said["figures"]["street_to_shop_recall_at_1"] == pytest.approx(
        report.figures["street_to_shop_recall_at_1"], abs=1e-4
    )
    assert list(said["by_category"]) == ["street_to_shop", "in_shop"]
    assert list(said["by_kind"]["in_shop"]) == ["shop"]
    assert len(said["ranks"]["street_to_shop"]) == 8


def test_as_tables(report: Report) -> None:
    console = Console(width=140, file=io.StringIO(), record=True)
    for table in report.tables():
        console.print(table)
    text = console.export_text()
    for word in ("street to shop", "in shop", "recall@1", "mAP@10", "category precision@5", "ap50"):
        assert word in text


def test_the_worst_come_from_all_tasks_the_latest_first(report: Report) -> None:
    late = report.worst(100)
    ranks = [int(report.retrieval[task].ranks[number]) for task, number in late]
    assert ranks == sorted(ranks, reverse=True)
    assert min(ranks, default=2) > 1
    assert report.worst(1) == late[:1]


def test_figures_in_words() -> None:
    assert [words("map_at_10"), words("recall_at_1"), words("category_precision_at_5")] == [
        "mAP@10",
        "recall@1",
        "category precision@5",
    ]
    assert [shown("queries", 1234.0), shown("ap50", 0.5), shown("ap50", None)] == ["1,234", "0.500", "–"]
