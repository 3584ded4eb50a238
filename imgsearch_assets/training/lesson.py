"""What an embedder learns from: pictures, their items' boxes, what is confused, and the recipe that fits."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from imgsearch_assets.datasets import catalogue, drawn
from imgsearch_assets.datasets.again import with_second_look
from imgsearch_assets.datasets.dataset import Dataset, Labelled
from imgsearch_assets.datasets.loader import load
from imgsearch_assets.datasets.split import apart, split
from imgsearch_assets.evaluation.report import Boxes
from imgsearch_assets.sample.drawing import GENERATOR
from imgsearch_assets.training.hard import confused
from imgsearch_assets.training.metric import Recipe
from imgsearch_assets.training.settings import DRAWN
from serving.errors import BadInput
from serving.models.trunk import Descriptor

UNSEEN, UNSEEN_SEED = 200, 1_000_003  # drawn products to measure with; no training draws with that seed
HELD_OUT = 1 / 3  # of a data set

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
    reduced_width=Descriptor.width,  # the last stage learns kinds; the middle layers keep identity
)

_CATALOGUE = "catalogue:"


@dataclass(frozen=True)
class Lesson:
    """``version`` names the pictures; ``unseen`` is what the model is measured with, by ``boxes``.

    ``dataset`` is the version of the data set that both are parts of, "" where they are not. ``left_out``
    counts pictures that are not learned from, by reason: ``Dataset.skipped``, and copies of ``unseen``.
    ``confused`` are products that the index ``generation`` takes for each other; "" is none.
    """

    pictures: tuple[Labelled, ...]
    version: str
    unseen: Dataset
    boxes: Boxes
    recipe: Recipe
    dataset: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
    generation: str = ""
    confused: Mapping[str, Sequence[str]] = field(default_factory=dict)


def lesson(data: str, products: int, seed: int, work: Path, held_out: float | None = None) -> Lesson:
    """Of so many ``drawn`` products, of a folder of photos, or of any data set of ``datasets.loader``.

    What has to be drawn or written goes below ``work``; ``held_out`` is the share of a data set's products
    that ``seed`` chooses. Products with several pictures teach what one thing looks like; where there are
    none, categories teach kinds. The products of an installation are learned with what its live index
    confuses. Raises ``BadInput`` for a data set that is not as its format asks.
    """
    if data == DRAWN:
        if seed == UNSEEN_SEED:
            raise BadInput(f"seed {seed} draws what models are measured with; choose another")
        learned = drawn.load(products, seed, work).pictures
        unseen = drawn.load(UNSEEN, UNSEEN_SEED, work)
        return Lesson(learned, f"{DRAWN}/{GENERATOR}/{products}/{seed}", unseen, "true", OF_PRODUCTS)
    dataset = load(data if ":" in data else f"folder:{data}", work)
    whole = split(dataset, held_out or HELD_OUT, seed)
    parts, _ = apart(whole)
    copies = len(whole.train) - len(parts.train)
    left_out = Counter(dataset.skipped) + Counter({"picture_like_a_held_out_one": copies})
    several = Counter(one.product for one in parts.train if one.product)
    if not any(count > 1 for count in several.values()):
        again = with_second_look(parts.held_out, dataset.root, work / "again")
        return Lesson(parts.train, parts.version, again, "whole", OF_KINDS, dataset.version, left_out)
    labelled = any(one.items for one in parts.held_out)
    boxes: Boxes = "true" if labelled else "detected"
    found = Lesson(parts.train, parts.version, parts.unseen, boxes, OF_PRODUCTS, dataset.version, left_out)
    if not data.startswith(_CATALOGUE):
        return found
    live = catalogue.live_generation(Path(data.removeprefix(_CATALOGUE)))
    return replace(found, generation=live.manifest.id, confused=confused(live, several))
