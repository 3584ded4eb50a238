"""Pictures a second from bytes to unit vectors, against the bare forward pass and against a plain loop.

    python -m benchmarks.embed --json

``pipeline_efficiency``: the whole path as the pipeline runs it (read, decode, crop the item and the whole
picture, resize, embed, write the rows) as a part of the forward passes alone on ready pixels of the same
crops, by as many threads in the same process. ``ratio_vs_plain_loop``: the whole path against Pillow and
eager PyTorch in batches of 16, with torch's default threads, of the same crops of the same pictures; each
side in processes of its own, turn by turn, medians of the ratios. glibc's allocator hands memory back between
layers, which costs eager PyTorch half its time: once both sides have it as it comes, once both are told to
keep memory (M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of 1 GiB, one arena).
"""

import argparse
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from benchmarks._peers import ROOT, NotInstalled, library
from imgsearch_assets.models.shipped import register_embedder
from imgsearch_assets.sample.scenes import training_scene
from serving.images.box import Box
from serving.object_store import LocalObjectStore

HERE = Path(__file__).parent
RUN_LIMIT_S = 900
SEED = 9_000_000  # far from those that a training draws


def run(module: str, *arguments: object) -> dict[str, Any]:
    """What a module of ours said in its last line, run to its end in a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=RUN_LIMIT_S)
    if done.returncode != 0:
        raise SystemExit(f"{module} failed with {done.returncode}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def drawn(number: int) -> tuple[bytes, list[Box]]:
    """A drawn picture as JPEG, and the boxes that are embedded: its item and the whole."""
    picture, items = training_scene(np.random.default_rng([SEED, number]))
    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, "JPEG", quality=88)
    return sink.getvalue(), [*(box for box, _ in items[:1]), Box.whole()]


def lay_out(folder: Path, pictures: int, photos: Path | None) -> int:
    """A store with a model and pictures, and what is wanted of them; how many there are."""
    store = LocalObjectStore(folder)
    register_embedder(store)
    if photos is None:
        given = [drawn(number) for number in range(pictures)]
    else:
        files = sorted(path for path in photos.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
        chosen = random.Random(0).sample(files, min(pictures, len(files)))
        given = [(path.read_bytes(), [Box.whole()]) for path in chosen]
    wanted = {}
    for data, boxes in given:
        sha = hashlib.sha256(data).hexdigest()
        store.put(f"images/{sha}", data)
        wanted[sha] = [box.key for box in boxes]
    (folder / "wanted.json").write_text(json.dumps(sorted(wanted.items())))
    return len(wanted)


def contest(folder: Path, peer: Path, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Pictures a second of both sides in each round, by how memory is kept."""
    speeds: dict[str, dict[str, list[float]]] = {}
    for round_ in range(rounds):
        for malloc in ("default", "kept"):
            sides = {
                "ours": lambda malloc=malloc: run("_embed_ours", "path", folder, malloc),
                "plain": lambda malloc=malloc: run("_embed_plain", folder, peer, malloc),
            }
            for side in sorted(sides, reverse=round_ % 2 == 1):
                said = sides[side]()
                speed = said["pictures"] / said["seconds"]
                speeds.setdefault(malloc, {}).setdefault(side, []).append(speed)
                processor_ms = said["processor_s"] / said["pictures"] * 1e3
                print(
                    f"round {round_ + 1}, malloc {malloc}: {side:<6}{speed:7.1f}/s, "
                    f"{processor_ms:.1f} ms of processor for a picture",
                    file=sys.stderr,
                )
    return speeds


def ratio(speeds: dict[str, list[float]]) -> float:
    return median(ours / plain for ours, plain in zip(speeds["ours"], speeds["plain"], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pictures", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--photos", type=Path, help="a folder of pictures instead of drawn ones")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    try:
        peer = library(HERE / "embed-peers.txt")
    except NotInstalled as error:
        sys.exit(f"no figures without the peer: {error}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "store"
        pictures = lay_out(folder, options.pictures, options.photos)
        own = run("_embed_ours", "stages", folder, options.rounds)
        speeds = contest(folder, peer, options.rounds)
        reduced = run("_embed_ours", "precision", folder)

    crops = "the whole picture" if options.photos else "the item and the whole picture"
    print(f"\n{pictures:,} pictures, {crops}; {own['threads']} threads on {own['device']}, {own['engine']}")
    print(
        f"whole path {own['pictures_per_s']:.1f} pictures/s, forward pass {own['forward_pictures_per_s']:.1f}"
    )
    by_processor = own["pipeline_efficiency_by_processor_time"]
    print(f"pipeline_efficiency {own['pipeline_efficiency']:.3f}; by processor time {by_processor:.3f}")
    print(f"load of the machine when this began: {load:.1f}\n\nms of a thread for a picture")
    for name, ms in own["stages_ms"].items():
        print(f"  {name:<30}{ms:8.2f}")
    print(f"\n{'pictures/s':<16}{'ours':>8}{'plain':>8}{'ratio':>8}")
    for malloc, sides in speeds.items():
        ours, plain = median(sides["ours"]), median(sides["plain"])
        print(f"malloc {malloc:<9}{ours:>8.1f}{plain:>8.1f}{ratio(sides):>8.2f}")
    print(f"\n{reduced['engine']} against float32: cosine {reduced['cosine_least']:.5f} at least, ", end="")
    print(f"{reduced['cosine_mean']:.5f} on average")
    for name, found in reduced["retrieval"].items():
        kept = found["neighbours_kept_of_10"]
        print(f"  {name:<36}recall@1 {found['recall_at_1']:.3f}, of ten neighbours kept {kept:.3f}")
    if options.json:
        figures = {
            "pipeline_efficiency": round(own["pipeline_efficiency"], 3),
            "ratio_vs_plain_loop": round(ratio(speeds["default"]), 2),
            "ratio_vs_plain_loop_tuned_malloc": round(ratio(speeds["kept"]), 2),
            "pipeline_efficiency_by_processor_time": round(by_processor, 3),
            "load_before": round(load, 1),
            "malloc": {"default": "glibc's", "tuned": "M_MMAP_THRESHOLD = M_TRIM_THRESHOLD = 1 GiB, 1 arena"},
            "pictures_per_s": round(own["pictures_per_s"], 1),
            "stages_ms": {name: round(ms, 2) for name, ms in own["stages_ms"].items()},
            "reduced": reduced,
            **{name: own[name] for name in ("device", "threads", "engine", "batch")},
            "pictures": pictures,
        }
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
