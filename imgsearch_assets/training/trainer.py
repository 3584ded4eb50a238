"""Training as the command line and the pipeline both do it: in a folder of its own, then past the gate."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from imgsearch_assets.local.installation import only_one
from imgsearch_assets.models.registration import Registered, Yardstick, register
from imgsearch_assets.training import detector, embedder, metric
from imgsearch_assets.training.boxed import Boxed
from imgsearch_assets.training.checkpoint import Checkpoint, fingerprint
from imgsearch_assets.training.lesson import Lesson
from imgsearch_assets.training.material import Material
from imgsearch_assets.training.settings import TrainerSettings
from serving.errors import BadInput
from serving.models import runtime
from serving.models.bundle import Bundle
from serving.object_store import ObjectStore


class Result(Protocol):
    """A model that was trained: its figures, and what the gate compares it with the live one by."""

    @property
    def figures(self) -> Mapping[str, float]: ...

    @property
    def pictures(self) -> Mapping[str, bytes]:
        """For people, by file name: ``curves.png``, and ``worst.jpg`` of what it was held to."""

    @property
    def yardstick(self) -> Yardstick:
        """The held-out pictures that the figures are over."""

    def store(self, store: ObjectStore) -> Bundle:
        """Keep it as a candidate."""


@dataclass(frozen=True)
class Done:
    """A training that came to its end in ``folder``.

    ``resumed_from`` is the epoch of the checkpoint that it went on from, 0 where it began.
    """

    result: Result
    folder: Path
    resumed_from: int
    epochs: int
    seconds: float


def folder_of(material: Material, settings: TrainerSettings, finder: Bundle | None, below: Path) -> Path:
    """The folder below ``below`` that is this training's: the same for the same data and settings."""
    decisive = {"data": material.version, "detector": finder.version if finder else ""}
    recipe = asdict(_recipe(material.taught, settings))
    return below / f"{material.source.model}-{fingerprint(decisive | recipe)}"


def train(
    material: Material, settings: TrainerSettings, finder: Bundle | None, folder: Path, option: str = "--out"
) -> Done:
    """Train in ``folder``, which ``option`` chose, from where a killed training of the same stood.

    ``finder`` is the detector whose crops an embedder learns from. Raises ``BadInput`` for data that cannot
    be learned from, and ``BadSettings`` where the folder is of another training, or another process is at it.
    """
    runtime.tune(threads=1)  # the backbone's looks and the drawing are what run side by side
    with only_one(folder, option):
        started = time.monotonic()
        resumed_from = 0 if settings.restart else Checkpoint(folder).newest()
        recipe = _recipe(material.taught, settings)
        result = _trained(material.taught, recipe, finder, folder, restart=settings.restart)
        seconds = time.monotonic() - started
    return Done(result, folder, resumed_from, recipe.epochs, seconds)


def offer(store: ObjectStore, result: Result, who: str, why: str, *, waive: bool = False) -> Registered:
    """Keep ``result`` as a candidate and make it live if it is not worse; raises as ``register``."""
    return register(store, result.store(store), result.yardstick, who=who, why=why, waive=waive)


def _recipe(taught: Boxed | Lesson, settings: TrainerSettings) -> detector.Recipe | metric.Recipe:
    by_itself = taught.recipe if isinstance(taught, Lesson) else detector.Recipe()
    return replace(by_itself, seed=settings.seed, epochs=settings.epochs or by_itself.epochs)


def _trained(
    taught: Boxed | Lesson,
    recipe: detector.Recipe | metric.Recipe,
    finder: Bundle | None,
    folder: Path,
    *,
    restart: bool,
) -> Result:
    match taught, recipe:
        case Boxed(), detector.Recipe():
            boxes = detector.train(taught.mirrored, taught.unseen, recipe, folder, restart=restart)
            boxes.write(folder)
            return boxes
        case Lesson(), metric.Recipe() if finder is not None:
            return embedder.trained(replace(taught, recipe=recipe), finder, folder, restart=restart)
    raise BadInput("an embedder learns from the crops of a detector, and there is none")
