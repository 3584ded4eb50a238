"""What the frozen trunk says of a data set's pictures and of copies a telephone might have made of them.

The trunk looks once; a training of the head afterwards takes seconds. What it said is kept on disk in parts,
so that a killed training looks again at a few pictures only.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from imgsearch_assets.datasets.dataset import Labelled
from imgsearch_assets.datasets.scenes import pixels_of
from imgsearch_assets.models.shipped import imagenet_backbone
from imgsearch_assets.pool import processes
from imgsearch_assets.progress import stage
from imgsearch_assets.training.augment import rephotographed
from imgsearch_assets.training.checkpoint import fingerprint, write_whole
from imgsearch_assets.training.frozen import engine_of, frozen
from serving.errors import BadInput
from serving.images.box import Box, crop
from serving.models.engine import Engine
from serving.models.preprocess import Preprocessing
from serving.models.trunk import Descriptor

# Views of a picture as they are: its item, and the whole of it. Copies come after them.
PLAIN = 2
_CHUNK = 128  # pictures in one file
_BATCH = 8  # views the trunk takes at once
_LOOSE = 0.06  # standard deviation of an edge of a detector's box, as a part of the side


@dataclass(frozen=True)
class Described:
    """Descriptors float32 (n, views, d): of each picture its item, the whole, then copies of both in turn.

    ``products`` and ``categories`` int64 (n,) number what the pictures show; a picture without a product is
    one of its own, one without a category has -1. ``names`` are those of products 0, 1 and so on.
    """

    rows: NDArray[np.float32]
    products: NDArray[np.int64]
    categories: NDArray[np.int64]
    names: tuple[str, ...] = ()


def trunk_engine() -> Engine:
    """The shipped trunk: uint8 (n, 3, s, s) to descriptors float32 (n, d)."""
    return engine_of(frozen(Descriptor(), imagenet_backbone()))


def describe(
    pictures: Sequence[Labelled],
    copies: int,
    seed: int,
    folder: Path,
    version: str,
    boxes: Mapping[Path, Box] | None = None,
    engine: Callable[[], Engine] | None = None,
) -> Described:
    """Describe ``pictures``, each with so many copies, or read from ``folder`` what was described before.

    ``version`` names the pictures' content. An item's box is that of ``boxes``, else the labelled one. Raises
    ``BadInput`` naming a picture that cannot be read, and where there is none.
    """
    if not pictures:
        raise BadInput("there are no pictures to learn from")
    boxes = boxes or {}
    known = {str(one.path): boxes.get(one.path, one.box).key for one in pictures}
    mark = fingerprint({"version": version, "copies": copies, "seed": seed, "boxes": list(known.values())})
    starts = range(0, len(pictures), _CHUNK)
    files = [folder / f"{mark}.{start:07d}.safetensors" for start in starts]
    lacking = [start for start, file in zip(starts, files, strict=True) if not file.exists()]
    jobs = [
        (
            i,
            pictures[i],
            boxes.get(pictures[i].path, pictures[i].box),
            pictures[_other(seed, i, len(pictures))],
        )
        for start in lacking
        for i in range(start, min(start + _CHUNK, len(pictures)))
    ]
    rows: list[NDArray[np.float32]] = []
    with (
        stage("describing pictures", len(jobs)) as advance,
        processes() as pool,
    ):
        look = (engine or trunk_engine)() if lacking else None
        made = (
            pool.map(partial(views, copies=copies, seed=seed), *zip(*jobs, strict=True), chunksize=4)
            if jobs
            else iter(())
        )
        for start, file in zip(starts, files, strict=True):
            count = min(_CHUNK, len(pictures) - start)
            if look is not None and not file.exists():
                part = torch.from_numpy(np.stack([_seen(look, next(made), advance) for _ in range(count)]))
                write_whole(file, safetensors.torch.save({"rows": part.half()}))
            rows.append(safetensors.torch.load(file.read_bytes())["rows"].float().numpy())
    products, names = _numbered([one.product or f"\0{one.path}" for one in pictures])
    categories, _ = _numbered([one.category for one in pictures])
    return Described(np.concatenate(rows), products, categories, names)


def views(
    number: int, one: Labelled, box: Box, other: Labelled, *, copies: int, seed: int
) -> NDArray[np.uint8]:
    """A picture as the trunk takes it, uint8 (2 + copies, 3, s, s): item, whole, and copies of both in turn.

    ``other`` is a picture whose blur is the ground that a copy may stand before.
    """
    cv2.setNumThreads(1)
    picture = pixels_of(one)
    plain = Preprocessing().pixels([crop(picture, box), picture]).numpy()
    if not copies:
        return plain
    rng = np.random.default_rng([seed, number])
    ground = cv2.GaussianBlur(
        cv2.resize(pixels_of(other), (64, 64), interpolation=cv2.INTER_AREA), (0, 0), 2.0
    )
    made = [
        rephotographed(
            crop(picture, loose(box, rng) if i % 2 == 0 else Box.whole()), rng, ground.astype(np.uint8)
        )
        for i in range(copies)
    ]
    return np.concatenate((plain, np.stack(made).transpose(0, 3, 1, 2)))


def loose(box: Box, rng: np.random.Generator) -> Box:
    """``box`` as a detector might have drawn it."""
    wide, tall = box.x1 - box.x0, box.y1 - box.y0
    x0, y0, x1, y1 = rng.normal(0, _LOOSE, 4) * (wide, tall, wide, tall) + (box.x0, box.y0, box.x1, box.y1)
    if min(x1, 1.0) - max(x0, 0.0) < wide / 2 or min(y1, 1.0) - max(y0, 0.0) < tall / 2:
        return box
    return Box.clipped(x0, y0, x1, y1)


def _seen(look: Engine, pixels: NDArray[np.uint8], advance: Callable[[int], None]) -> NDArray[np.float32]:
    parts = [look(torch.from_numpy(part)) for part in _batches(pixels)]
    advance(1)
    found: NDArray[np.float32] = torch.cat([part for part in parts if isinstance(part, torch.Tensor)]).numpy()
    return found


def _batches(pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(pixels), _BATCH):
        yield pixels[start : start + _BATCH]


def _other(seed: int, i: int, count: int) -> int:
    """The number of the picture that lends picture ``i`` its ground."""
    return int(np.random.default_rng([seed, i, 1]).integers(count))


def _numbered(labels: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels as numbers in their order, "" as -1; and the labels by number."""
    names = tuple(sorted({label for label in labels if label}))
    numbers = {name: i for i, name in enumerate(names)}
    return np.array([numbers.get(label, -1) for label in labels], np.int64), names
