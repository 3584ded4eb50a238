from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imgsearch_assets.datasets.dataset import Dataset, Kind, Labelled, Role
from imgsearch_assets.evaluation.evaluate import evaluate, tasks_of
from imgsearch_assets.evaluation.report import Report
from serving.errors import BadInput
from serving.images.box import Box
from serving.models.detector import Detector
from serving.models.embedder import Embedder

Models = tuple[Detector, Embedder]


def some(*labels: tuple[Kind, Role]) -> list[Labelled]:
    return [Labelled(Path(str(i)), kind=kind, role=role) for i, (kind, role) in enumerate(labels)]


def test_street_asks_shop_and_shop_asks_shop() -> None:
    street, shop, other = some(("street", ""), ("shop", ""), ("shop", ""))
    assert tasks_of([street, shop, other]) == {
        "street_to_shop": ([street], [shop, other]),
        "in_shop": ([shop, other], [shop, other]),
    }


def test_what_the_data_set_says_holds() -> None:
    pictures = some(("street", "query"), ("shop", "gallery"), ("shop", "train"), ("shop", ""))
    assert tasks_of(pictures) == {"street_to_shop": ([pictures[0]], [pictures[1]])}


def test_nothing_to_ask() -> None:
    with pytest.raises(BadInput, match=r"^nothing to measure: no picture asks"):
        tasks_of(some(("street", ""), ("shop", "train")))


def test_a_real_measurement(report: Report, products: Dataset, models: Models) -> None:
    assert report.detector == models[0].version
    assert report.dataset_version == products.version
    figures = report.figures
    assert figures["street_to_shop_queries"] == 8
    assert figures["in_shop_queries"] == 24
    assert 0.3 < figures["street_to_shop_recall_at_1"] <= figures["street_to_shop_recall_at_10"] <= 1
    assert figures["in_shop_recall_at_10"] == 1
    assert figures["detector_pictures"] == 32
    assert 0.7 < figures["detector_ap50"] <= 1
    assert figures["detector_ap"] < figures["detector_ap50"]
    assert len(report.query_boxes) == 32
    assert report.skipped == {}


def test_whose_boxes(products: Dataset, models: Models) -> None:
    _, looker = models
    few = replace(products, pictures=products.pictures[:8])
    true, whole = (evaluate(few, looker, boxes=which) for which in ("true", "whole"))
    street = few.pictures[3]
    assert (true.query_boxes[street.path], whole.query_boxes[street.path]) == (street.box, Box.whole())
    assert true.detection == {}
    assert not np.array_equal(
        true.retrieval["street_to_shop"].scores, whole.retrieval["street_to_shop"].scores
    )
    with pytest.raises(BadInput, match=r"^boxes are to be detected, and there is no detector"):
        evaluate(few, looker)


def test_a_broken_picture_is_left_out(products: Dataset, models: Models, tmp_path: Path) -> None:
    copies = []
    for one in products.pictures[:8]:
        path = tmp_path / one.path.name
        path.write_bytes(one.path.read_bytes())
        copies.append(replace(one, path=path))
    copies[0].path.write_bytes(copies[0].path.read_bytes()[:3000])
    copies[3].path.write_bytes(b"")
    broken = Dataset("broken", tmp_path, tuple(copies), {"truncated": 2})
    found = evaluate(broken, models[1], boxes="whole")
    assert found.skipped == {"truncated": 3, "empty": 1}
    assert len(found.retrieval["street_to_shop"].queries) == 1
    for one in copies:
        one.path.write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"^nothing to measure: none of the pictures could be opened$"):
        evaluate(Dataset("all", tmp_path, tuple(copies)), models[1], boxes="whole")
