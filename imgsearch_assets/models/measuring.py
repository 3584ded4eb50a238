"""How the gate measures a model: on one data set, the same for the candidate and for what is live."""

from collections.abc import Mapping
from pathlib import Path

from imgsearch_assets.datasets.again import with_second_look
from imgsearch_assets.datasets.dataset import Dataset
from imgsearch_assets.datasets.split import split
from imgsearch_assets.models.registration import Yardstick
from serving.errors import BadInput
from serving.models import detector, embedder
from serving.models.bundle import Bundle
from serving.models.detection import Detection
from serving.models.preprocess import open_picture

# What is drawn to measure shipped models with; a seed that no training of this project uses.
DRAWN_PRODUCTS, DRAWN_SEED = 100, 900_001


def yardstick(dataset: Dataset) -> Yardstick:
    """The held-out pictures of ``dataset``: those of role ``train`` are left out.

    An embedder is judged by itself, with the boxes that the data set knows, a detector by those boxes.
    """
    held = [one for one in dataset.pictures if one.role != "train"]

    def measure(bundle: Bundle) -> Mapping[str, float]:
        from imgsearch_assets.evaluation.detection import detection
        from imgsearch_assets.evaluation.evaluate import evaluate

        if bundle.name == embedder.NAME:
            return evaluate(dataset, embedder.Embedder(bundle), None, "true").figures
        if bundle.name != detector.NAME:
            raise BadInput(f"nobody knows how to measure a model named {bundle.name!r}")
        finder = detector.Detector(bundle)
        found: dict[Path, list[Detection]] = {}
        for one in held:
            if one.items:
                (found[one.path],) = finder.detect([open_picture(one.path.read_bytes())])
        return detection(held, found, finder.categories)

    return Yardstick(dataset.version, measure, len(held))


def left_out(dataset: Dataset, share: float | None, seed: int, folder: Path) -> Dataset:
    """The part of ``dataset`` that a training with that split does not learn from; all of it without a share.

    Photographs of which no product is known get a second look each, below ``folder``: kinds alone would not
    show whether a model still knows a thing again.
    """
    if share is not None:
        dataset = split(dataset, share, seed).unseen
    if any(one.product or one.items for one in dataset.pictures):
        return dataset
    return with_second_look(dataset.pictures, dataset.root, folder)


def drawn_yardstick(folder: Path) -> Yardstick:
    """Pictures of the sample generator that no model of this project learned from, drawn below ``folder``."""
    from imgsearch_assets.datasets import drawn

    return yardstick(drawn.load(DRAWN_PRODUCTS, DRAWN_SEED, folder))
