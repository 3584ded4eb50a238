"""Fit the embedder's projection: ``python -m imgsearch_assets.training.embedder``.

Principal components of descriptors, with half-strength whitening: full whitening (Jegou and Chum, ECCV 2012)
divides a component by its standard deviation, here by the root of that. It needs no labels, so that it
serves photographs it never met; a projection trained on drawn garments alone was better on those and worse on
photographs. The same seed gives the same pictures and the same projection on the same machine.
"""

import io
import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import safetensors.torch
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from imgsearch_assets.models import WEIGHTS, Shipped, imagenet_backbone
from imgsearch_assets.progress import stage
from imgsearch_assets.sample.design import new_design
from imgsearch_assets.sample.scenes import PACKSHOTS, Scene, packshot, street
from serving.images.box import Box, crop
from serving.models import runtime
from serving.models.network import fill
from serving.models.preprocess import Preprocessing, open_picture
from serving.models.trunk import Descriptor

DIM = 128
_WHITENING = 0.5  # of a component's standard deviation, as a power
_UNSEEN = 1_000_000  # the number of the first product kept for the figures; fitting never gets there
_SHOP = 2  # packshots a product; then comes its street picture

# Descriptors of products, float32 (n, pictures, 2, d): of each picture its item, then the whole.
Descriptors = NDArray[np.float32]


def product(seed: int, number: int) -> Tensor:
    """The pictures of one product, uint8 (6, 3, s, s): two packshots and a street one, item and whole."""
    rng = np.random.default_rng([seed, number])
    design = new_design(rng)
    scenes: list[Scene] = [packshot(design, rng, kind) for kind in PACKSHOTS[:_SHOP]]
    scenes.append(street(design, rng))
    return Preprocessing().pixels(
        [part for one in scenes for part in (crop(one.picture, one.items[0][0]), one.picture)]
    )


def descriptor() -> Descriptor:
    """The frozen part of the embedder."""
    network = Descriptor()
    fill(network, imagenet_backbone(), torch.device("cpu"))
    return network


@torch.inference_mode()
def described(network: Descriptor, seed: int, first: int, count: int, name: str) -> Descriptors:
    """Draw products ``first`` .. ``first + count`` and describe their pictures."""
    rows = []
    with (
        stage(name, count) as advance,
        ProcessPoolExecutor(runtime.cores(), get_context("forkserver")) as pool,
    ):
        for pixels in pool.map(partial(product, seed), range(first, first + count), chunksize=4):
            rows.append(network(Preprocessing().normalised(pixels)).numpy().reshape(_SHOP + 1, 2, -1))
            advance(1)
    return np.stack(rows)


def fit(rows: NDArray[np.float32], dim: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Projection (weight float32 (dim, d), bias float32 (dim,)) fitted to descriptors float32 (n, d)."""
    wide = rows.astype(np.float64)
    mean = wide.mean(0)
    _, spread, components = np.linalg.svd(wide - mean, full_matrices=False)
    deviation = spread[:dim] / np.sqrt(len(rows))
    weight = components[:dim] / deviation[:, None] ** _WHITENING
    return weight.astype(np.float32), (-weight @ mean).astype(np.float32)


def project(
    rows: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Descriptors float32 (..., d) to vectors float32 (..., dim) of unit length."""
    vectors = rows @ weight.T + bias
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def ranks(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.int64]:
    """How many products come before the right one, int64 (n,); query i is of product i.

    Vectors float32 (n, rows, dim) each: a product scores its best cosine over all pairs of rows.
    """
    scores = np.einsum("qid,pjd->qpij", queries, gallery, optimize=True).max((2, 3))
    before: NDArray[np.int64] = (scores > np.diagonal(scores)[:, None]).sum(1)
    return before


def street_to_shop(vectors: NDArray[np.float32]) -> dict[str, float]:
    """Figures of vectors (n, pictures, 2, dim): the street picture asks, the packshots answer."""
    shop = vectors[:, :_SHOP].reshape(len(vectors), 2 * _SHOP, -1)
    found = ranks(vectors[:, _SHOP], shop)
    return {
        "street_recall_at_1": float((found < 1).mean()),
        "street_recall_at_10": float((found < 10).mean()),
    }


@torch.inference_mode()
def photos_again(network: Descriptor, photos: Sequence[Path], seed: int) -> Descriptors:
    """Photographs and what a second look at them might be, float32 (n, 2, d).

    The second is seven tenths of the first, brighter, and compressed again (JPEG 60).
    """
    rng, rows, side = np.random.default_rng(seed), [], np.sqrt(0.7)
    with stage("describing photographs", len(photos)) as advance:
        for path in photos:
            picture = open_picture(path.read_bytes())
            x, y = rng.uniform(0, 1 - side, 2)
            again = Image.fromarray(crop(picture, Box(x, y, x + side, y + side))).point(lambda v: v * 1.15)
            sink = io.BytesIO()
            again.save(sink, "JPEG", quality=60)
            both = Preprocessing().apply([picture, open_picture(sink.getvalue())])
            rows.append(network(both).numpy())
            advance(1)
    return np.stack(rows)


def main(
    out: Annotated[
        Path, typer.Option(help="Folder for embedder_projection.safetensors and .json.")
    ] = WEIGHTS,
    products: Annotated[int, typer.Option(help="Products to fit to.")] = 400,
    unseen: Annotated[int, typer.Option(help="Products for the figures.")] = 300,
    photos: Annotated[Path | None, typer.Option(help="Folder of photographs, for figures only.")] = None,
    seed: int = 0,
) -> None:
    """Fit the projection on pictures of the sample generator and write it with its figures."""
    started = time.monotonic()
    runtime.tune(threads=1)
    network = descriptor()
    rows = described(network, seed, 0, products, "describing products")
    weight, bias = fit(rows.reshape(-1, rows.shape[-1]), DIM)
    # Half precision is what is shipped, so it is what is measured.
    weight, bias = weight.astype(np.float16).astype(np.float32), bias.astype(np.float16).astype(np.float32)
    vectors = project(described(network, seed, _UNSEEN, unseen, "describing unseen products"), weight, bias)
    measured = street_to_shop(vectors)
    if photos:
        pairs = project(photos_again(network, sorted(photos.rglob("*.jpg")), seed), weight, bias)
        measured["photos"] = float(len(pairs))
        measured["photos_self_recall_at_1"] = float((ranks(pairs[:, 1:], pairs[:, :1]) < 1).mean())
    card = Shipped(
        metrics={name: round(value, 4) for name, value in measured.items()},
        training={"products": products, "unseen": unseen, "seed": seed},
    )
    out.mkdir(parents=True, exist_ok=True)
    tensors = {"weight": torch.from_numpy(weight).half(), "bias": torch.from_numpy(bias).half()}
    (out / "embedder_projection.safetensors").write_bytes(safetensors.torch.save(tensors))
    (out / "embedder_projection.json").write_text(json.dumps(card.model_dump(mode="json"), indent=1) + "\n")
    print(json.dumps({**card.metrics, "seconds": round(time.monotonic() - started)}))


if __name__ == "__main__":
    typer.run(main)
