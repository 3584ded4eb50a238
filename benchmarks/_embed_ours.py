"""Pictures to vectors as the pipeline makes them, in a process of its own; prints figures as JSON.

python -m benchmarks._embed_ours path FOLDER MALLOC        pictures and seconds of the whole path
python -m benchmarks._embed_ours stages FOLDER ROUNDS      whole path and bare forward pass, turn by turn
python -m benchmarks._embed_ours precision FOLDER          float32 against reduced numbers
"""

import io
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from imgsearch_assets.features import tables
from imgsearch_assets.features.tables import embed_boxes
from serving.images.box import Box, crop
from serving.models import runtime
from serving.models.bundle import load_bundle
from serving.models.embedder import NAME, Embedder
from serving.models.preprocess import open_picture
from serving.object_store import LocalObjectStore

# Pictures whose vectors are compared: a processor without float16 emulates it, slowly.
COMPARED = 64

Pictures = list[tuple[str, list[str]]]


def wanted(folder: Path) -> Pictures:
    return [(sha, boxes) for sha, boxes in json.loads((folder / "wanted.json").read_text())]


@contextmanager
def fresh(folder: Path) -> Iterator[LocalObjectStore]:
    """The same pictures in a store that has no vectors yet."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as there:
        shutil.copytree(folder / "images", Path(there) / "images", copy_function=os.link)
        yield LocalObjectStore(Path(there))


class Spent(NamedTuple):
    """Seconds of the clock, and of all processors for this process."""

    seconds: float
    processor_s: float


def spent(work: Callable[[], object]) -> Spent:
    started, processor = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - started, time.process_time() - processor)


def whole_path(embedder: Embedder, folder: Path, pictures: Pictures) -> Spent:
    """From stored bytes to stored vectors."""
    rows = pa.table(
        {
            "sha256": [sha for sha, boxes in pictures for _ in boxes],
            "box": [box for _, boxes in pictures for box in boxes],
        }
    )
    with fresh(folder) as store:
        return spent(lambda: embed_boxes(store, embedder, rows))


def opened(folder: Path, sha: str) -> NDArray[np.uint8]:
    return open_picture((folder / "images" / sha).read_bytes())


def bare_forward(embedder: Embedder, batches: list[torch.Tensor]) -> Spent:
    """The forward passes alone, by as many threads as the pipeline has."""
    with ThreadPoolExecutor(runtime.cores()) as pool:
        return spent(lambda: list(pool.map(embedder._engine, batches)))


class Clock:
    """Time of some functions, over all threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                with self._lock:
                    self.seconds[name] += time.perf_counter() - started

        return call


def stages(embedder: Embedder, folder: Path, pictures: Pictures) -> dict[str, float]:
    """Milliseconds of a thread for a picture, by stage."""
    clock = Clock()
    kept = tables.open_picture, embedder.pixels, embedder._engine, LocalObjectStore.get
    tables.open_picture = clock.timed("decode", kept[0])
    embedder.pixels = clock.timed("crop and resize", kept[1])
    embedder._engine = clock.timed("forward", kept[2])
    LocalObjectStore.get = clock.timed("read", kept[3])  # type: ignore[method-assign]
    try:
        seconds = whole_path(embedder, folder, pictures).seconds
    finally:
        tables.open_picture, embedder.pixels, embedder._engine, LocalObjectStore.get = kept  # type: ignore[method-assign]
    clock.seconds["rest"] = seconds * runtime.cores() - sum(clock.seconds.values())
    order = ("read", "decode", "crop and resize", "forward", "rest")
    return {name: clock.seconds[name] / len(pictures) * 1e3 for name in order}


def efficiency(folder: Path, rounds: int) -> dict[str, Any]:
    embedder = live(folder)
    pictures = wanted(folder)
    whole_path(embedder, folder, pictures[:16])
    crops = [crop(opened(folder, sha), Box.from_key(box)) for sha, boxes in pictures for box in boxes]
    size = embedder.batch
    batches = [embedder.pixels(crops[start : start + size]) for start in range(0, len(crops), size)]
    del crops
    pairs = []
    for _ in range(rounds):
        pairs.append((whole_path(embedder, folder, pictures), bare_forward(embedder, batches)))
        whole, forward = pairs[-1]
        print(f"whole path {whole.seconds:.2f} s, forward pass {forward.seconds:.2f} s", file=sys.stderr)
    tables = [stages(embedder, folder, pictures) for _ in range(rounds)]
    return {
        "pipeline_efficiency": median(forward.seconds / whole.seconds for whole, forward in pairs),
        # The same in processor time, which other processes on the machine disturb less; not for a GPU.
        "pipeline_efficiency_by_processor_time": median(
            forward.processor_s / whole.processor_s for whole, forward in pairs
        ),
        "pictures_per_s": len(pictures) / median(whole.seconds for whole, _ in pairs),
        "forward_pictures_per_s": len(pictures) / median(forward.seconds for _, forward in pairs),
        "stages_ms": {name: median(table[name] for table in tables) for name in tables[0]},
        "engine": embedder._engine.name,
        "batch": embedder.batch,
        "threads": runtime.cores(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_name(),
    }


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "a CPU"


def retaken(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """70 % of the picture somewhere on it, in another light, compressed again."""
    part = 0.7**0.5
    left, top = rng.random(2) * (1 - part)
    image = Image.fromarray(crop(picture, Box(left, top, left + part, top + part)))
    sink = io.BytesIO()
    ImageEnhance.Brightness(image).enhance(rng.uniform(0.7, 1.3)).save(sink, "JPEG", quality=60)
    return open_picture(sink.getvalue())


def precision(folder: Path) -> dict[str, Any]:
    """What reduced numbers do to vectors and to what is found with them."""
    rng = np.random.default_rng(0)
    pictures = wanted(folder)[:COMPARED]
    gallery = [crop(opened(folder, sha), Box.from_key(boxes[0])) for sha, boxes in pictures]
    queries = [retaken(picture, rng) for picture in gallery]
    engines = {"float32": ("auto", "float32"), "reduced": ("torch", "reduced")}
    xb, xq = {}, {}
    for name, (engine, numbers) in engines.items():
        os.environ["IMGSEARCH_ENGINE"], os.environ["IMGSEARCH_PRECISION"] = engine, numbers
        embedder = live(folder)
        print(f"{name} by {embedder._engine.name}", file=sys.stderr)
        xb[name], xq[name] = embedder.embed(gallery), embedder.embed(queries)
    cosines = np.concatenate([(xb["float32"] * xb["reduced"]).sum(1), (xq["float32"] * xq["reduced"]).sum(1)])
    ranks = {
        (ours, theirs): np.argsort(-xq[ours] @ xb[theirs].T, 1, kind="stable")
        for ours, theirs in (("float32", "float32"), ("reduced", "float32"), ("reduced", "reduced"))
    }
    exact = ranks["float32", "float32"]
    right = np.arange(len(gallery))
    k = min(10, len(gallery))
    found = {}
    for (ours, theirs), D in ranks.items():
        kept = [len(set(a[:k]) & set(b[:k])) / k for a, b in zip(D, exact, strict=True)]
        found[f"{ours} queries, {theirs} gallery"] = {
            "recall_at_1": float((D[:, 0] == right).mean()),
            "neighbours_kept_of_10": float(np.mean(kept)),
        }
    return {
        "engine": embedder._engine.name,
        "cosine_least": float(cosines.min()),
        "cosine_mean": float(cosines.mean()),
        "retrieval": found,
    }


def live(folder: Path) -> Embedder:
    return Embedder(load_bundle(LocalObjectStore(folder), NAME))


def path(folder: Path, malloc: str) -> dict[str, Any]:
    if malloc == "default":
        runtime.keep_memory = lambda: None
    runtime.tune()
    embedder = live(folder)
    pictures = wanted(folder)
    whole_path(embedder, folder, pictures[:16])
    return {"pictures": len(pictures), **whole_path(embedder, folder, pictures)._asdict()}


def main() -> None:
    what, folder, *more = sys.argv[1:]
    if what == "path":
        result = path(Path(folder), more[0])
    else:
        runtime.tune()
        result = efficiency(Path(folder), int(more[0])) if what == "stages" else precision(Path(folder))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
