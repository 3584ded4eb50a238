"""What a researcher says of a training: the command line and the pipeline's config are made of these.

Paths are texts, as Dagster's config has no others.
"""

from importlib.util import find_spec
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from serving.errors import Unsupported

DRAWN = "drawn"
SCENES, PRODUCTS = 4096, 600

ModelName = Literal["detector", "embedder"]

_FROZEN = ConfigDict(frozen=True, extra="forbid")


def check_installed() -> None:
    """Raise ``Unsupported`` where what only trainers need is not there."""
    if not all(find_spec(name) for name in ("matplotlib", "pycocotools")):
        raise Unsupported("training needs more packages: install imgsearch[train]")


class Source(BaseModel):
    """The pictures that ``model`` learns from, and those that it is measured with."""

    model_config = _FROZEN

    model: ModelName = Field(default="embedder", description="What learns: a detector, or an embedder.")
    data: str = Field(
        default=DRAWN,
        description="drawn; coco:FILE for a detector; for an embedder a folder of photos by category, or a "
        "data set as of imgsearch evaluate (in_shop:PATH, street2shop:PATH, catalogue:HOME...).",
    )
    images: str | None = Field(
        default=None, description="Where the pictures of coco:FILE lie, where that is not near the file."
    )
    drawn: int | None = Field(
        default=None,
        ge=2,
        description=f"How many are drawn to learn from: scenes for a detector ({SCENES:,}), products for an "
        f"embedder ({PRODUCTS:,}). Others are drawn to measure with.",
    )
    held_out: float | None = Field(
        default=None,
        ge=0.01,
        le=0.9,
        description="Share of the products (of the pictures, where there are none) to measure with. By "
        "itself a third for an embedder, for a detector a tenth, of a small file more. Where a data set says "
        "itself which are which, that holds.",
    )
    seed: int = Field(default=0, description="Draws, and decides what is held out.")

    @property
    def count(self) -> int:
        """How many scenes or products are drawn to learn from."""
        return self.drawn or (SCENES if self.model == "detector" else PRODUCTS)


class TrainerSettings(BaseModel):
    """How a model is trained."""

    model_config = _FROZEN

    epochs: int | None = Field(
        default=None, ge=1, description="Times each picture is learned from; by itself as the recipe says."
    )
    seed: int = Field(default=0, description="The same seed gives the same weights on the same machine.")
    restart: bool = Field(default=False, description="Forget what was trained with these settings before.")


class DetectorSettings(TrainerSettings):
    """How a detector is trained."""


class EmbedderSettings(TrainerSettings):
    """How an embedder is trained."""

    detector: str = Field(
        default="shipped",
        description="Whose crops it learns from: shipped, a folder with a bundle, or of the installation: "
        "live, or a version.",
    )
