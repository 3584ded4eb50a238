"""Train an embedder's head: ``imgsearch train embedder``.

From drawn products, of which several pictures are known, or from a folder of photos, of which the kinds are.
What is learned from is a ``lesson``. Its items are cropped as the detector finds them, the trunk is frozen
and looks at every picture once (``described``), and what is learned is ``metric``'s.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import safetensors.torch
from torch import Tensor

from imgsearch_assets.evaluation.evaluate import evaluate
from imgsearch_assets.evaluation.gallery import worst_sheet
from imgsearch_assets.evaluation.report import Report
from imgsearch_assets.figures import rounded
from imgsearch_assets.models.registration import Yardstick
from imgsearch_assets.models.shipped import Shipped, imagenet_backbone
from imgsearch_assets.training.checkpoint import Checkpoint, Json, clear_parts, write_whole
from imgsearch_assets.training.crops import detected
from imgsearch_assets.training.described import describe, trunk_engine
from imgsearch_assets.training.lesson import Lesson
from imgsearch_assets.training.metric import Projection, configuration, train
from imgsearch_assets.training.tail import early_engine
from imgsearch_assets.training.watched import Watched, watched_of
from serving.models.bundle import Bundle, store_bundle
from serving.models.detector import Detector
from serving.models.embedder import NAME, Embedder
from serving.models.preprocess import Preprocessing
from serving.object_store import LocalObjectStore, ObjectStore

# Copies of each picture as a telephone might have made them.
DRAWN_COPIES, PHOTO_COPIES = 2, 5


@dataclass(frozen=True)
class Trained:
    """A projection, what it came from, and how good it is on pictures it never met."""

    projection: Projection
    figures: Mapping[str, float]
    configuration: Mapping[str, Json]
    taught: Lesson
    finder: Bundle
    pictures: Mapping[str, bytes]  # by file name: the curves, the worst queries

    @property
    def split(self) -> str:
        """Version of what its figures are over: the pictures, and the detector where that cuts them."""
        version = self.taught.unseen.version
        return f"{version}/{self.finder.version}" if self.taught.boxes == "detected" else version

    @property
    def yardstick(self) -> Yardstick:
        """The same pictures for other embedders; so many as ask, shoppers' where there are."""
        pictures = self.taught.unseen.pictures
        samples = sum(one.kind != "shop" for one in pictures) or len(pictures)
        return Yardstick(self.split, self._figures, samples)

    def _figures(self, bundle: Bundle) -> Mapping[str, float]:
        return _report(self.taught, bundle, self.finder).figures

    def store(self, store: ObjectStore) -> Bundle:
        """Keep it with its trunk as a candidate; it is not live by that."""
        return stored(store, self.projection, self.configuration, self.figures, self.split, self.pictures)

    def write(self, folder: Path) -> None:
        """``embedder_projection.safetensors`` and ``.json`` as ``serving/models/weights`` holds them.

        Only of a trunk that was left as it is: the shipped one is not kept twice.
        """
        card = Shipped(
            metrics=rounded(self.figures),
            training=self.configuration,
            blocks=self.projection.blocks,
            dataset=str(self.configuration["data"]),
            split=self.split,
        )
        tensors = {name: tensor.half() for name, tensor in self.projection.tensors().items()}
        write_whole(folder / "embedder_projection.safetensors", safetensors.torch.save(tensors))
        text = json.dumps(card.model_dump(mode="json"), indent=1) + "\n"
        write_whole(folder / "embedder_projection.json", text.encode())


def trained(taught: Lesson, finder: Bundle, into: Path, *, restart: bool = False) -> Trained:
    """Train in the folder ``into`` as ``taught.recipe`` says.

    ``finder`` is the detector whose crops are learned from. Raises ``BadInput`` for pictures that cannot be
    learned from, ``BadSettings`` where the folder is of another training.
    """
    projection, settings = learn(taught, Detector(finder), into, restart=restart)
    with TemporaryDirectory(prefix="imgsearch-") as scratch:
        bundle = stored(LocalObjectStore(Path(scratch)), projection, settings, {}, "")
        report = _report(taught, bundle, finder)
    pictures = {"curves.png": (into / "curves.png").read_bytes(), "worst.jpg": worst_sheet(report)}
    done = Trained(projection, _shares(report), settings, taught, finder, pictures)
    if not projection.tuned:
        done.write(into)
    return done


def learn(
    taught: Lesson, finder: Detector, into: Path, *, restart: bool = False
) -> tuple[Projection, dict[str, Json]]:
    """Crop and describe the pictures, and train a head on them; also all that decides it."""
    if restart:
        Checkpoint(into).clear()
        for kept in ("described", "items"):
            clear_parts(into / kept)
    pictures, recipe = taught.pictures, taught.recipe
    copies = PHOTO_COPIES if recipe.category_weight else DRAWN_COPIES
    boxes = detected(pictures, finder, into / "items", taught.version)
    look = early_engine if recipe.tuned_rate else trunk_engine
    described = describe(
        pictures, copies, recipe.seed, into / "described", f"{taught.version}/{look.__name__}", boxes, look
    )
    origin: dict[str, Json] = {
        "data": taught.version,
        "pictures": len(pictures),
        "left_out": sum(taught.left_out.values()),
        "dataset": taught.dataset,
        "copies": copies,
        "detector": finder.version,
        "index": taught.generation,
    }
    beside = watched_of(taught.unseen, kinds=bool(recipe.category_weight))
    seen = describe(
        beside, 0, recipe.seed, into / "described", f"{taught.unseen.version}/{look.__name__}", engine=look
    )
    projection = train(described, recipe, into, origin, taught.confused, Watched(beside, seen).figures)
    return halved(projection), configuration(recipe, origin)


def halved(projection: Projection) -> Projection:
    """As half precision holds it: what is shipped is what is measured."""
    return replace(
        projection,
        weight=projection.weight.astype(np.float16).astype(np.float32),
        bias=projection.bias.astype(np.float16).astype(np.float32),
    )


def stored(
    store: ObjectStore,
    projection: Projection,
    settings: Mapping[str, Json],
    figures: Mapping[str, float],
    unseen: str,
    pictures: Mapping[str, bytes] | None = None,
) -> Bundle:
    """A projection with the shipped trunk, kept as a candidate, with pictures for people beside it."""
    tensors: dict[str, Tensor] = {f"trunk.{name}": one for name, one in imagenet_backbone().items()}
    tensors |= {f"trunk.{name}": one for name, one in projection.tuned.items()}
    tensors |= {f"project.{name}": one for name, one in projection.tensors().items()}
    return store_bundle(
        store,
        NAME,
        tensors,
        Preprocessing(),
        dim=len(projection.weight),
        blocks=projection.blocks,
        metrics=rounded(figures),
        training=settings,
        dataset=str(settings["data"]),
        split=unseen,
        files=pictures,
    )


def _report(taught: Lesson, bundle: Bundle, finder: Bundle) -> Report:
    eyes = Detector(finder) if taught.boxes == "detected" else None
    return evaluate(taught.unseen, Embedder(bundle), eyes, taught.boxes)


def _shares(report: Report) -> dict[str, float]:
    return {name: value for name, value in report.figures.items() if not name.endswith("queries")}
