"""Train an embedder's head: ``imgsearch train embedder``.

From drawn products, of which several pictures are known, or from a folder of photos, of which the kinds are.
The trunk is frozen, so it looks at every picture once (``described``); what is learned is ``metric``'s.
"""

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np
import safetensors.torch
from torch import Tensor

from imgsearch_assets.datasets import drawn
from imgsearch_assets.datasets.again import with_second_look
from imgsearch_assets.datasets.dataset import Dataset, Labelled
from imgsearch_assets.datasets.loader import load
from imgsearch_assets.datasets.split import apart, split
from imgsearch_assets.evaluation.evaluate import evaluate
from imgsearch_assets.evaluation.gallery import worst_sheet
from imgsearch_assets.evaluation.report import Boxes, Report
from imgsearch_assets.models import Shipped, imagenet_backbone
from imgsearch_assets.training.checkpoint import Checkpoint, Json, fingerprint, write_whole
from imgsearch_assets.training.described import describe, trunk_engine
from imgsearch_assets.training.metric import Projection, Recipe, configuration, train
from imgsearch_assets.training.tail import early_engine
from serving.models.bundle import Bundle, store_bundle
from serving.models.embedder import NAME, Embedder
from serving.models.preprocess import Preprocessing
from serving.object_store import LocalObjectStore, ObjectStore

DRAWN = "drawn"
PRODUCTS, UNSEEN = 600, 200
UNSEEN_SEED = 1_000_003  # no training draws with it
HELD_OUT = 1 / 3  # of photographs

# Copies of each picture as a telephone might have made them.
DRAWN_COPIES, PHOTO_COPIES = 2, 5

OF_PRODUCTS = Recipe(epochs=100)
# Kinds only: a photograph is the single one of its product. docs/training.md has the curve of block_weight.
OF_KINDS = Recipe(
    product_weight=0.0,
    category_weight=1.0,
    block_weight=3.0,
    epochs=16,
    batch=128,
    rows=1,
    dropout=0.4,
    hard=0.0,
    tuned_rate=5e-4,
)


class Asked(Protocol):
    """What the command line says; see ``training.cli.Options``."""

    @property
    def data(self) -> str: ...
    @property
    def out(self) -> Path | None: ...
    @property
    def epochs(self) -> int | None: ...
    @property
    def seed(self) -> int: ...
    @property
    def restart(self) -> bool: ...


@dataclass(frozen=True)
class Unseen:
    """Pictures to measure with, and whose boxes they are measured with."""

    dataset: Dataset
    boxes: Boxes

    def report(self, bundle: Bundle) -> Report:
        """How an embedder does on them."""
        return evaluate(self.dataset, Embedder(bundle), boxes=self.boxes)

    def figures(self, bundle: Bundle) -> dict[str, float]:
        """The figures of an embedder."""
        return _shares(self.report(bundle))


@dataclass(frozen=True)
class Trained:
    """A projection, what it came from, and how good it is on pictures it never met."""

    projection: Projection
    figures: Mapping[str, float]
    configuration: Mapping[str, Json]
    unseen: Unseen
    pictures: Mapping[str, bytes]  # by file name: the curves, the worst queries

    @property
    def samples(self) -> int:
        """Held-out pictures that ask: the streets', or all where there are none."""
        pictures = self.unseen.dataset.pictures
        return sum(one.kind == "street" for one in pictures) or len(pictures)

    def measure(self, bundle: Bundle) -> Mapping[str, float]:
        """Figures of another embedder on the same pictures."""
        return self.unseen.figures(bundle)

    def store(self, store: ObjectStore) -> Bundle:
        """Keep it with its trunk as a candidate; it is not live by that."""
        version = self.unseen.dataset.version
        return stored(store, self.projection, self.configuration, self.figures, version, self.pictures)

    def write(self, folder: Path) -> None:
        """``embedder_projection.safetensors`` and ``.json`` as ``serving/models/weights`` holds them.

        Only of a trunk that was left as it is: the shipped one is not kept twice.
        """
        card = Shipped(
            metrics=_rounded(self.figures),
            training=self.configuration,
            blocks=self.projection.blocks,
            dataset=str(self.configuration["data"]),
            split=self.unseen.dataset.version,
        )
        tensors = {name: tensor.half() for name, tensor in self.projection.tensors().items()}
        write_whole(folder / "embedder_projection.safetensors", safetensors.torch.save(tensors))
        text = json.dumps(card.model_dump(mode="json"), indent=1) + "\n"
        write_whole(folder / "embedder_projection.json", text.encode())


def trained(asked: Asked) -> tuple[Trained, Path]:
    """Train from ``drawn`` products, a folder of photos, or any data set of ``datasets.loader``.

    Returns the model and the folder it was trained in. Products with several pictures teach what one thing
    looks like; where there are none, categories teach kinds. Raises ``BadInput`` for a data set that is not
    as its format asks, ``BadSettings`` where the folder is of another training.
    """
    named = fingerprint({"data": asked.data, "seed": asked.seed, "epochs": asked.epochs})
    into = asked.out or Path(".imgsearch") / "training" / f"embedder-{named}"
    learned, version, unseen, recipe = _known(asked, into / "pictures")
    recipe = replace(recipe, seed=asked.seed, epochs=asked.epochs or recipe.epochs)
    projection, settings = learn(learned, version, recipe, into, restart=asked.restart)
    with TemporaryDirectory(prefix="imgsearch-") as scratch:
        bundle = stored(LocalObjectStore(Path(scratch)), projection, settings, {}, "")
        report = unseen.report(bundle)
    pictures = {"curves.png": (into / "curves.png").read_bytes(), "worst.jpg": worst_sheet(report)}
    done = Trained(projection, _shares(report), settings, unseen, pictures)
    if not projection.tuned:
        done.write(into)
    return done, into


def _known(asked: Asked, work: Path) -> tuple[Sequence[Labelled], str, Unseen, Recipe]:
    """What is learned from, its version, what is measured with, and the recipe that fits."""
    if asked.data == DRAWN:
        learned = drawn.load(PRODUCTS, asked.seed, work).pictures
        unseen = Unseen(drawn.load(UNSEEN, UNSEEN_SEED, work), "true")
        return learned, f"{DRAWN}/{PRODUCTS}/{asked.seed}", unseen, OF_PRODUCTS
    dataset = load(asked.data if ":" in asked.data else f"folder:{asked.data}", work)
    parts, _ = apart(split(dataset, HELD_OUT, asked.seed))
    several = Counter(one.product for one in parts.train if one.product)
    if any(count > 1 for count in several.values()):
        return parts.train, parts.version, Unseen(parts.unseen, "true"), OF_PRODUCTS
    again = with_second_look(parts.held_out, dataset.root, work / "again")
    return parts.train, parts.version, Unseen(again, "whole"), OF_KINDS


def learn(
    pictures: Sequence[Labelled], version: str, recipe: Recipe, into: Path, *, restart: bool = False
) -> tuple[Projection, dict[str, Json]]:
    """Describe ``pictures``, which ``version`` names, and train a head on them; also all that decides it."""
    if restart:
        Checkpoint(into).clear()
        shutil.rmtree(into / "described", ignore_errors=True)
    copies = PHOTO_COPIES if recipe.category_weight else DRAWN_COPIES
    look = early_engine if recipe.tuned_rate else trunk_engine
    mark = f"{version}/{look.__name__}"
    described = describe(pictures, copies, recipe.seed, into / "described", mark, engine=look)
    settings = configuration(described, recipe, version) | {"copies": copies}
    return halved(train(described, recipe, into, version)), settings


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
        metrics=_rounded(figures),
        training=settings,
        dataset=str(settings["data"]),
        split=unseen,
        files=pictures,
    )


def _shares(report: Report) -> dict[str, float]:
    return {name: value for name, value in report.figures.items() if not name.endswith("queries")}


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}
