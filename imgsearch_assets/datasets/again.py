"""Photographs, and what a second look at each might be: whether training on kinds has cost identity."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from zlib import crc32

from imgsearch_assets.datasets.dataset import Dataset, Labelled
from imgsearch_assets.datasets.scenes import pixels_of
from imgsearch_assets.progress import stage
from imgsearch_assets.sample.drawing import write_whole
from imgsearch_assets.sample.evaluate import retaken


def with_second_look(pictures: Sequence[Labelled], root: Path, folder: Path) -> Dataset:
    """Each of ``pictures`` (below ``root``) as a product of its own, with a second look that asks for it.

    The second has 70 % of the area, is brighter and compressed again: see ``sample.evaluate``. Both are
    written below ``folder``. ``in_shop_category_precision_at_5`` of this data set leaves one out.
    """
    every: list[Labelled] = []
    with stage("taking photographs again", len(pictures)) as advance:
        for one in pictures:
            name = one.path.relative_to(root).as_posix()
            first, again = folder / "first" / name, folder / "again" / f"{name}.jpg"
            first.parent.mkdir(parents=True, exist_ok=True)
            again.parent.mkdir(parents=True, exist_ok=True)
            write_whole(first, one.path.read_bytes())
            write_whole(again, retaken(pixels_of(one), crc32(name.encode())))
            shop = replace(one, path=first, product=name, kind="shop", role="", items=())
            every += [shop, replace(shop, path=again, kind="again")]
            advance(1)
    return Dataset(f"{root.name}, {len(pictures)} photographs taken again", folder, tuple(every))
