"""Train the detector's head: ``python -m imgsearch_assets.training.detector``.

The backbone is frozen, so it looks at every scene once and its maps are kept: an epoch is the head alone.
The same seed gives the same scenes, the same order and the same weights on the same machine.
"""

import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import safetensors.torch
import torch
import typer
from torch import Tensor

from imgsearch_assets.models import WEIGHTS, Shipped, imagenet_backbone
from imgsearch_assets.progress import stage
from imgsearch_assets.sample.design import CATEGORIES
from imgsearch_assets.sample.scenes import training_scene
from imgsearch_assets.training.losses import box_loss, heat_loss
from imgsearch_assets.training.precision import (
    Truth,
    average_precision,
    main_item_found,
    mean_average_precision,
)
from imgsearch_assets.training.targets import targets
from serving.models import runtime
from serving.models.backbone import INPUT_SIZE, TAP_CHANNELS, TAP_STRIDES, Backbone, Taps
from serving.models.detection import Detection
from serving.models.detector import Head, corners, items
from serving.models.network import fill
from serving.models.preprocess import Preprocessing

GRID = INPUT_SIZE // TAP_STRIDES[0]
_BATCH = 16
_PEAK_RATE = 2e-3
_BOX_WEIGHT = 2.0
_UNSEEN = 1_000_000  # the number of the first scene kept for the figures; training never gets there


@dataclass(frozen=True)
class Seen:
    """Scenes as the head meets them: float16 (n, c, g, g) a tap, and the truth of each scene."""

    maps: tuple[Tensor, ...]
    truth: list[Truth]

    def taps(self, rows: Tensor | slice) -> Taps:
        return Taps(*(maps[rows].float() for maps in self.maps))


def scene(seed: int, number: int) -> tuple[Tensor, Truth]:
    """One scene ready for the backbone, uint8 (1, 3, s, s), and what is on it."""
    picture, truth = training_scene(np.random.default_rng([seed, number]))
    return Preprocessing().pixels([picture]), truth


@torch.inference_mode()
def look(seed: int, first: int, count: int, name: str) -> Seen:
    """Draw scenes ``first`` .. ``first + count`` and show them to the backbone."""
    backbone = Backbone()
    weights = {
        key.removeprefix("maps."): value
        for key, value in imagenet_backbone().items()
        if key.startswith("maps.")
    }
    fill(backbone, weights, torch.device("cpu"))
    maps = tuple(
        torch.empty(count, channels, INPUT_SIZE // stride, INPUT_SIZE // stride, dtype=torch.float16)
        for channels, stride in zip(TAP_CHANNELS, TAP_STRIDES, strict=True)
    )
    truth: list[Truth] = []
    with (
        stage(name, count) as advance,
        ProcessPoolExecutor(runtime.cores(), get_context("forkserver")) as pool,
    ):
        drawn = pool.map(partial(scene, seed), range(first, first + count), chunksize=8)
        for number, (pixels, items_of_scene) in enumerate(drawn):
            taps = backbone(Preprocessing().normalised(pixels))
            for kept, tap in zip(maps, (taps.fine, taps.middle, taps.coarse), strict=True):
                kept[number] = tap[0].half()
            truth.append(items_of_scene)
            advance(1)
    return Seen(maps, truth)


def train(seen: Seen, epochs: int, seed: int) -> Head:
    """A head fitted to ``seen``: AdamW, one cycle of the learning rate."""
    torch.manual_seed(seed)
    head = Head(len(CATEGORIES))
    # Most points are no item: the prior of RetinaNet (arXiv:1708.02002).
    head.heat.bias = torch.nn.Parameter(torch.full((len(CATEGORIES),), -4.0))
    made = [targets(truth, CATEGORIES, GRID) for truth in seen.truth]
    heat, boxes, weights = (torch.stack(part) for part in zip(*made, strict=True))
    steps = epochs * (len(made) // _BATCH)
    optimiser = torch.optim.AdamW(head.parameters(), lr=_PEAK_RATE, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, _PEAK_RATE, total_steps=steps, pct_start=0.15)
    with stage("training the head", steps) as advance:
        for _ in range(epochs):
            order = torch.randperm(len(made))
            for step in range(len(made) // _BATCH):
                rows = order[step * _BATCH : (step + 1) * _BATCH]
                logits, sides = head(seen.taps(rows))
                loss = heat_loss(logits, heat[rows])
                loss = loss + _BOX_WEIGHT * box_loss(corners(sides), boxes[rows], weights[rows])
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(head.parameters(), 5.0)
                optimiser.step()
                rate.step()
                advance(1)
    return head


@torch.inference_mode()
def figures(head: Head, unseen: Seen) -> dict[str, float]:
    """How good the head is on scenes it never met."""
    # Average precision weighs every box, however unsure; the main item is chosen among those that serve.
    every: list[list[Detection]] = []
    found: list[list[Detection]] = []
    for start in range(0, len(unseen.truth), _BATCH):
        logits, sides = head(unseen.taps(slice(start, start + _BATCH)))
        every += items(logits, sides, CATEGORIES, min_score=0.02)
        found += items(logits, sides, CATEGORIES)
    truth = unseen.truth
    return {
        "ap50": average_precision(every, truth, 0.5),
        "map50": mean_average_precision(every, truth, 0.5, CATEGORIES),
        "ap75": average_precision(every, truth, 0.75),
        "main_item_iou50": main_item_found(found, truth, 0.5),
        "main_item_iou75": main_item_found(found, truth, 0.75),
    }


def main(
    out: Annotated[Path, typer.Option(help="Folder for detector_head.safetensors and .json.")] = WEIGHTS,
    scenes: Annotated[int, typer.Option(help="Scenes to learn from.")] = 4000,
    unseen: Annotated[int, typer.Option(help="Scenes for the figures.")] = 400,
    epochs: int = 18,
    seed: int = 0,
) -> None:
    """Train the head on scenes of the sample generator and write it with its figures."""
    started = time.monotonic()
    runtime.tune(threads=1)
    head = train(look(seed, 0, scenes, "looking at scenes"), epochs, seed).eval()
    measured = figures(head, look(seed, _UNSEEN, unseen, "looking at unseen scenes"))
    card = Shipped(
        categories=CATEGORIES,
        metrics={name: round(value, 4) for name, value in measured.items()},
        training={"scenes": scenes, "unseen": unseen, "epochs": epochs, "seed": seed},
    )
    out.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in head.state_dict().items()}
    (out / "detector_head.safetensors").write_bytes(safetensors.torch.save(tensors))
    (out / "detector_head.json").write_text(json.dumps(card.model_dump(mode="json"), indent=1) + "\n")
    print(json.dumps({**card.metrics, "seconds": round(time.monotonic() - started)}))


if __name__ == "__main__":
    typer.run(main)
