"""How well a shopper's picture finds its product: python -m benchmarks.quality [--photos FOLDER] [--train]

Drawn products that no training has seen: street pictures ask, three packshots a product answer. Ours is the
product's way (detected boxes, the trained head, item and whole picture); frozen is the last layer of the same
trunk as ImageNet left it, on the whole picture. The gallery is the same pictures; the search is exact.

With --photos, a folder of photos by category instead: a head learns the kinds of two thirds and is measured
on the third. Self recall asks with the photo taken again: 70 % of its area, brighter, compressed.

Without --train drawn products are measured with the shipped models; with it detector and head are trained
from scratch first, and ``training_seconds`` says how long that took.
"""

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from imgsearch_assets.datasets import drawn, folder
from imgsearch_assets.datasets.again import with_second_look
from imgsearch_assets.datasets.dataset import Dataset
from imgsearch_assets.datasets.scenes import HELD_OUT, Drawn, Mirrored
from imgsearch_assets.datasets.split import apart, split
from imgsearch_assets.evaluation.evaluate import evaluate
from imgsearch_assets.evaluation.report import Boxes
from imgsearch_assets.models.candidates import SHIPPED, candidate
from imgsearch_assets.training import detector as detector_training
from imgsearch_assets.training import embedder as embedder_training
from imgsearch_assets.training.lesson import HELD_OUT as HELD_OUT_SHARE
from imgsearch_assets.training.lesson import OF_KINDS, UNSEEN_SEED, Lesson, lesson
from imgsearch_assets.training.metric import Projection
from imgsearch_assets.training.settings import DRAWN, PRODUCTS, SCENES
from serving.errors import ImgsearchError
from serving.models import detector, embedder, runtime
from serving.models.bundle import Block, Bundle
from serving.models.detector import Detector
from serving.models.embedder import Embedder
from serving.models.trunk import Descriptor
from serving.object_store import LocalObjectStore, ObjectStore

_FIRST_SCENE = 3_000_000  # for the detector's figures; no training draws from there
# Seeds of drawn products: below are those of trainings.
_FRESH, _SEEDS = 2_000_000, 1_000_000

STREET, KIN = "street_to_shop_recall_at_", "in_shop_category_precision_at_5"


def frozen(store: ObjectStore) -> Bundle:
    """The last layer of the trunk as it is, for comparison."""
    last = Descriptor.last_width
    weight = np.eye(last, Descriptor.width, dtype=np.float32)
    projection = Projection(weight, np.zeros(last, np.float32), (Block(dim=last),))
    return embedder_training.stored(store, projection, {"data": "ImageNet"}, {}, "")


def of_drawn(
    products: int, scenes: int, seed: int, models: Mapping[str, Bundle], work: Path
) -> dict[str, float]:
    """Figures of detector and embedder on fresh scenes and products, and of frozen features on the same."""
    eyes = Detector(models[detector.NAME])
    boxes = detector_training.figures_of(models[detector.NAME], Drawn(seed, _FIRST_SCENE, scenes))
    data = drawn.load(products, seed, work)
    ours = evaluate(data, Embedder(models[embedder.NAME]), eyes).figures
    plain = _figures(data, frozen(LocalObjectStore(work / "frozen")), "whole")
    return {
        "frozen_recall_at_1": plain[f"{STREET}1"],
        "frozen_recall_at_10": plain[f"{STREET}10"],
        "recall_at_1": ours[f"{STREET}1"],
        "recall_at_10": ours[f"{STREET}10"],
        "gain_recall_at_1": ours[f"{STREET}1"] - plain[f"{STREET}1"],
        "ap50": boxes["ap50"],
        "map50": boxes["map50"],
    }


def of_photos(photos: Path, seed: int, work: Path) -> dict[str, float]:
    """Figures of a head that learned the kinds of two thirds of ``photos``, on the third."""
    parts, _ = apart(split(folder.load(photos), HELD_OUT_SHARE, seed))
    unseen = with_second_look(parts.held_out, parts.dataset.root, work / "again")
    started = time.monotonic()
    taught = Lesson(parts.train, parts.version, unseen, "whole", OF_KINDS)
    eyes = Detector(candidate(detector.NAME, SHIPPED, None))
    projection, settings = embedder_training.learn(taught, eyes, work / "kinds")
    seconds = time.monotonic() - started
    ours = _figures(
        unseen,
        embedder_training.stored(LocalObjectStore(work / "ours"), projection, settings, {}, parts.version),
        "whole",
    )
    plain = _figures(unseen, frozen(LocalObjectStore(work / "frozen")), "whole")
    return {
        "photos": float(len(parts.held_out)),
        "frozen_category_precision_at_5": plain[KIN],
        "category_precision_at_5": ours[KIN],
        "frozen_self_recall_at_1": plain["self_recall_at_1"],
        "self_recall_at_1": ours["self_recall_at_1"],
        "training_seconds": seconds,
    }


def trained_models(seed: int, work: Path) -> tuple[dict[str, Bundle], float]:
    """Detector and embedder from scratch, by what ``imgsearch train all`` does, and seconds it took."""
    started = time.monotonic()
    store = LocalObjectStore(work / "trained")
    scenes = Mirrored(Drawn(seed, 0, SCENES))
    recipe = detector_training.Recipe(seed=seed)
    boxes = detector_training.train(scenes, HELD_OUT, recipe, work / "detector")
    finder = boxes.store(store)
    taught = lesson(DRAWN, PRODUCTS, seed, work / "embedder" / "pictures")
    head = embedder_training.trained(taught, finder, work / "embedder")
    models = {detector.NAME: finder, embedder.NAME: head.store(store)}
    return models, time.monotonic() - started


def _figures(data: Dataset, bundle: Bundle, boxes: Boxes) -> dict[str, float]:
    return evaluate(data, Embedder(bundle), boxes=boxes).figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--products", type=int, default=2000)
    parser.add_argument("--scenes", type=int, default=400, help="drawn, for the detector's figures")
    parser.add_argument("--seed", type=int, help="of the products drawn; a fresh one by default")
    parser.add_argument("--photos", type=Path, help="folder of photos, a sub-folder a category")
    parser.add_argument("--train", action="store_true", help="train detector and head from scratch first")
    parser.add_argument("--keep", type=Path, help="folder for what is drawn, to be used again; else none")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    runtime.tune(threads=1)
    seed = secrets.randbelow(_SEEDS) + _FRESH if options.seed is None else options.seed
    if options.photos is None and seed in (0, UNSEEN_SEED):
        parser.error(f"--seed {seed} is one that trainings draw with; say another")
    try:
        with tempfile.TemporaryDirectory(prefix="imgsearch-quality-") as scratch:
            work = options.keep or Path(scratch)
            if options.photos is not None:
                seed = 0 if options.seed is None else seed
                figures = of_photos(options.photos, seed, work)
            else:
                models = {name: candidate(name, SHIPPED, None) for name in (detector.NAME, embedder.NAME)}
                seconds = None
                if options.train:
                    models, seconds = trained_models(0, work)
                figures = of_drawn(options.products, options.scenes, seed, models, work)
                if seconds is not None:
                    figures["training_seconds"] = seconds
    except ImgsearchError as error:
        sys.exit(f"no figures: {error}")

    what = options.photos.resolve().name if options.photos else f"{options.products:,} drawn products"
    print(f"\n{what}, seed {seed}")
    names = [name for name in figures if not name.startswith("frozen_")]
    print(f"{'':<26}{'ours':>10}{'frozen':>10}")
    for name in names:
        other = figures.get(f"frozen_{name}")
        print(f"{name:<26}{figures[name]:>10.3f}{'' if other is None else f'{other:>10.3f}'}")
    if options.json:
        said = {name: round(value, 4) for name, value in figures.items()}
        print(json.dumps({**said, "products": options.products, "seed": seed}))


if __name__ == "__main__":
    main()
