"""Data sets by name: ``drawn:500``, ``in_shop:/data/in-shop`` and their like."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from imgsearch_assets.datasets.dataset import Dataset
from serving.errors import BadInput

# Where what has to be drawn or unpacked is kept.
FOLDER = Path(".imgsearch") / "datasets"
SEED = 7
FORMS = (
    "drawn:PRODUCTS[:SEED], folder:PATH, in_shop:PATH, street2shop:PATH, lookbench:PATH, coco:FILE, "
    "catalogue:HOME"
)


def load(spec: str, folder: Path = FOLDER) -> Dataset:
    """The data set that ``spec`` names, one of ``FORMS``; what it has to write goes below ``folder``.

    Raises ``BadInput`` when there is none of that name, or it is not laid out as its format asks.
    """
    form, _, rest = spec.partition(":")
    if not rest or form not in _LOADERS:
        raise BadInput(f"{spec!r} names no data set; say one of {FORMS}")
    return _LOADERS[form](rest, folder)


def _drawn(rest: str, folder: Path) -> Dataset:
    from imgsearch_assets.datasets import drawn

    products, _, seed = rest.partition(":")
    try:
        asked = int(products), int(seed or SEED)
    except ValueError:
        raise BadInput(f"drawn:{rest} names no data set; say drawn:PRODUCTS or drawn:PRODUCTS:SEED") from None
    return drawn.load(*asked, folder)


def _folder(rest: str, _: Path) -> Dataset:
    from imgsearch_assets.datasets import folder

    return folder.load(Path(rest))


def _in_shop(rest: str, _: Path) -> Dataset:
    from imgsearch_assets.datasets import in_shop

    return in_shop.load(Path(rest))


def _street2shop(rest: str, _: Path) -> Dataset:
    from imgsearch_assets.datasets import street2shop

    return street2shop.load(Path(rest))


def _lookbench(rest: str, folder: Path) -> Dataset:
    from imgsearch_assets.datasets import lookbench

    return lookbench.load(Path(rest), folder)


def _coco(rest: str, _: Path) -> Dataset:
    from imgsearch_assets.datasets import coco

    found = coco.load(Path(rest))
    return replace(found.dataset, skipped=found.rejected)


def _catalogue(rest: str, _: Path) -> Dataset:
    from imgsearch_assets.datasets import catalogue

    return catalogue.load(Path(rest))


_LOADERS: dict[str, Callable[[str, Path], Dataset]] = {
    "drawn": _drawn,
    "folder": _folder,
    "in_shop": _in_shop,
    "street2shop": _street2shop,
    "lookbench": _lookbench,
    "coco": _coco,
    "catalogue": _catalogue,
}
