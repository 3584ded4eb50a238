"""What the frozen backbone sees on scenes: looked once, kept, so that an epoch is the head alone."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imgsearch_assets.datasets.scenes import Scenes, Truth
from imgsearch_assets.models.shipped import imagenet_maps
from imgsearch_assets.pool import processes
from imgsearch_assets.progress import stage
from imgsearch_assets.training.checkpoint import write_whole
from imgsearch_assets.training.frozen import engine_of, frozen
from serving.images.box import Box
from serving.models.backbone import INPUT_SIZE, TAP_CHANNELS, TAP_STRIDES, Backbone, Taps
from serving.models.engine import Engine
from serving.models.preprocess import Preprocessing

GRID = INPUT_SIZE // TAP_STRIDES[0]
_SHAPES = tuple(
    (INPUT_SIZE // stride, INPUT_SIZE // stride, channels)
    for channels, stride in zip(TAP_CHANNELS, TAP_STRIDES, strict=True)
)
_TAPS = ("fine", "middle", "coarse")
_BATCH = 4  # of the backbone: activations stay near the caches
_CHUNK = 128  # scenes a file: a killed training looks again at so many at most
_FEW = 64  # scenes that are drawn sooner than another process has started


@dataclass(frozen=True)
class Seen:
    """Scenes as a head meets them: float16 (n, g, g, c) a tap, channels last, and the truth of each scene."""

    maps: tuple[Tensor, ...]
    truth: list[Truth]

    def taps(self, rows: Tensor | slice) -> Taps:
        """Maps of some scenes, float32 (n, c, g, g)."""
        return Taps(*(maps[rows].float().permute(0, 3, 1, 2) for maps in self.maps))


@cache
def backbone() -> Engine:
    """The frozen backbone: uint8 (n, 3, s, s) to its three maps, float32 (n, c, g, g) each."""
    return engine_of(_Flat(frozen(Backbone(), imagenet_maps())))


class _Flat(nn.Module):
    """A converter takes tuples, not data classes."""

    def __init__(self, network: Backbone) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        taps = self.network(x)
        return taps.fine, taps.middle, taps.coarse


def look(scenes: Scenes, folder: Path, name: str) -> Seen:
    """Show every scene to the backbone, or read from ``folder`` what it saw before it was interrupted."""
    starts = range(0, len(scenes), _CHUNK)
    maps = tuple(torch.empty(len(scenes), *shape, dtype=torch.float16) for shape in _SHAPES)
    truth: list[Truth] = []
    files = {start: folder / f"{scenes.fingerprint}.{start:07d}.safetensors" for start in starts}
    lacking = {start for start, file in files.items() if not file.exists()}
    numbers = [i for start in sorted(lacking) for i in range(start, min(start + _CHUNK, len(scenes)))]
    with stage(name, len(numbers)) as advance, _prepared(scenes, numbers) as prepared:
        for start, file in files.items():
            count = min(_CHUNK, len(scenes) - start)
            if start in lacking:
                write_whole(file, _looked(backbone(), islice(prepared, count), advance))
            content = file.read_bytes()
            for whole, part in zip(maps, _tensors(content), strict=True):
                whole[start : start + count] = part
            truth += _truth(content)
    return Seen(maps, truth)


@contextmanager
def _prepared(scenes: Scenes, numbers: Sequence[int]) -> Iterator[Iterator[tuple[NDArray[np.uint8], Truth]]]:
    """The scenes of those numbers as the backbone takes them, made by other processes where it pays."""
    one = partial(_scene, scenes)
    if len(numbers) < _FEW:
        yield map(one, numbers)
        return
    with processes() as pool:
        yield pool.map(one, numbers, chunksize=8)


def _scene(scenes: Scenes, i: int) -> tuple[NDArray[np.uint8], Truth]:
    """Scene ``i`` as the backbone takes it, uint8 (1, 3, s, s), and what is on it."""
    picture, truth = scenes.scene(i)
    return Preprocessing().pixels([picture]).numpy(), truth


def _looked(
    eyes: Engine, scenes: Iterator[tuple[NDArray[np.uint8], Truth]], advance: Callable[[int], None]
) -> bytes:
    """One file: the maps of some scenes, and their truth as JSON in its metadata."""
    taps: list[tuple[Tensor, ...]] = []
    truth: list[Truth] = []
    while batch := list(islice(scenes, _BATCH)):
        seen = eyes(torch.from_numpy(np.concatenate([pixels for pixels, _ in batch])))
        taps.append(tuple(tap.permute(0, 2, 3, 1).half() for tap in seen))
        truth += [items for _, items in batch]
        advance(len(batch))
    maps = {name: torch.cat(parts) for name, parts in zip(_TAPS, zip(*taps, strict=True), strict=True)}
    written = [[[box.key, category] for box, category in items] for items in truth]
    content: bytes = safetensors.torch.save(maps, {"truth": json.dumps(written)})
    return content


def _tensors(content: bytes) -> list[Tensor]:
    found = safetensors.torch.load(content)
    return [found[name] for name in _TAPS]


def _truth(content: bytes) -> list[Truth]:
    size = int.from_bytes(content[:8], "little")
    written = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["truth"])
    return [[(Box.from_key(key), category) for key, category in items] for items in written]
