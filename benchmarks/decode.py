"""Milliseconds a JPEG, by who decodes it: python -m benchmarks.decode [--photos FOLDER] [--json]

Every way ends in RGB pixels whose shorter side is at least what the models look at; "scaled" ones let the
JPEG's own transform shrink it to 1/2 or 1/4. Turn by turn in one process on one thread; medians of rounds.
Ours is ``serving.images.decode``: the header checked first, every byte read, then turned upright.
"""

import argparse
import io
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from benchmarks.embed import drawn
from serving.images.decode import decode
from serving.models.preprocess import AT_LEAST

_CV2 = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}


def scale(data: bytes) -> int:
    """1, 2 or 4: by how much it may shrink."""
    height, width, *_ = simplejpeg.decode_jpeg_header(data)
    return max(by for by in (1, 2, 4) if by == 1 or min(height, width) // by >= AT_LEAST)


def pillow(data: bytes) -> object:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def pillow_scaled(data: bytes) -> object:
    image = Image.open(io.BytesIO(data))
    by = scale(data)
    if by > 1:
        image.draft("RGB", (image.width // by, image.height // by))
    return np.asarray(image.convert("RGB"))


def opencv_scaled(data: bytes) -> object:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _CV2[scale(data)])
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def simplejpeg_scaled(data: bytes) -> object:
    height, width, *_ = simplejpeg.decode_jpeg_header(data)
    by = scale(data)
    return simplejpeg.decode_jpeg(data, "RGB", min_height=height // by, min_width=width // by, min_factor=1)


def ours(data: bytes) -> object:
    return decode(data, at_least=AT_LEAST)


WAYS: dict[str, Callable[[bytes], object]] = {
    "Pillow": pillow,
    "Pillow, scaled (draft)": pillow_scaled,
    "opencv, scaled": opencv_scaled,
    "simplejpeg, scaled": simplejpeg_scaled,
    "ours": ours,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs instead of drawn ones")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.photos is None:
        pictures = [drawn(number)[0] for number in range(options.pictures)]
    else:
        files = sorted(path for path in options.photos.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg"})
        chosen = random.Random(0).sample(files, min(options.pictures, len(files)))
        pictures = [path.read_bytes() for path in chosen]
    spent: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(options.rounds):
        for name, way in WAYS.items():
            started = time.perf_counter()
            for data in pictures:
                way(data)
            spent[name].append((time.perf_counter() - started) / len(pictures) * 1e3)
    mid = sum(len(data) for data in pictures) / len(pictures) / 2**10
    print(f"{len(pictures)} JPEGs of {mid:.0f} KiB on average, {options.rounds} rounds\n")
    print(f"{'':<26}{'ms':>8}{'x Pillow':>10}")
    ratios = {
        name: median(first / own for first, own in zip(spent["Pillow"], times, strict=True))
        for name, times in spent.items()
    }
    for name, times in spent.items():
        print(f"{name:<26}{median(times):>8.2f}{ratios[name]:>10.2f}")
    if options.json:
        said = {
            name: {"ms": round(median(times), 3), "ratio": round(ratios[name], 2)}
            for name, times in spent.items()
        }
        print(json.dumps({"pictures": len(pictures), "ways": said}))


if __name__ == "__main__":
    main()
