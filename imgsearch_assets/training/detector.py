"""Train a detector's head on scenes: ``imgsearch train detector``.

The backbone is frozen, so it looks at every scene once and its maps are kept: an epoch is the head alone.
The same scenes, recipe and machine give the same weights, however often the training was killed on the way.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F

from imgsearch_assets.datasets.scenes import Scenes, Truth, refuse_leaks
from imgsearch_assets.evaluation.precision import figures_by_category, main_item_found
from imgsearch_assets.figures import rounded
from imgsearch_assets.models.registration import Yardstick
from imgsearch_assets.models.shipped import Shipped, imagenet_maps
from imgsearch_assets.progress import stage
from imgsearch_assets.training.checkpoint import Checkpoint, Json, clear_parts, packed, unpacked, write_whole
from imgsearch_assets.training.curves import Curves, picture
from imgsearch_assets.training.looks import GRID, Seen, look
from imgsearch_assets.training.losses import box_loss, heat_loss
from imgsearch_assets.training.missed import worst_boxes
from imgsearch_assets.training.targets import targets
from serving.errors import BadInput
from serving.models.backbone import Taps
from serving.models.bundle import Bundle, store_bundle
from serving.models.detection import Detection
from serving.models.detector import NAME, Detector, DetectorNetwork, Head, corners, items
from serving.models.network import fill
from serving.models.preprocess import Preprocessing
from serving.object_store import LocalObjectStore, ObjectStore

_BOX_WEIGHT = 2.0
_LEAST_SCORE = 0.02  # average precision weighs every box, however unsure


@dataclass(frozen=True)
class Recipe:
    """What decides the weights beside the scenes; a change of the code that does raises ``version``."""

    epochs: int = 7
    seed: int = 0
    dropout: float = 0.15  # of whole channels of the maps: without it a head soon knows its scenes by heart
    batch: int = 16
    peak_rate: float = 2e-3
    version: int = 4


@dataclass(frozen=True)
class Trained:
    """A head, what it tells apart, and how good it is on scenes it never met."""

    head: Head
    categories: tuple[str, ...]
    figures: Mapping[str, float]
    by_category: Mapping[str, Mapping[str, float]]
    configuration: Mapping[str, Json]
    unseen: Scenes
    pictures: Mapping[str, bytes]  # by file name: the curves, what it does worst

    @property
    def yardstick(self) -> Yardstick:
        """Figures of other detectors on the same held-out pictures."""
        split = str(self.configuration["held_out"])
        return Yardstick(split, lambda bundle: figures_of(bundle, self.unseen), len(self.unseen))

    def write(self, folder: Path) -> None:
        """``detector_head.safetensors`` and ``.json`` as ``serving/models/weights`` holds them."""
        write_whole(folder / "detector_head.safetensors", safetensors.torch.save(_weights(self.head)))
        card = Shipped(
            categories=self.categories,
            metrics=rounded(self.figures),
            training=self.configuration,
            dataset=self.configuration["data"],
            split=self.configuration["held_out"],
        )
        text = json.dumps(card.model_dump(mode="json"), indent=1) + "\n"
        write_whole(folder / "detector_head.json", text.encode())

    def store(self, store: ObjectStore) -> Bundle:
        """Keep it with its backbone as a candidate; it is not live by that."""
        maps = {f"backbone.{name}": tensor for name, tensor in imagenet_maps().items()}
        return store_bundle(
            store,
            NAME,
            maps | {f"head.{name}": tensor for name, tensor in _weights(self.head).items()},
            Preprocessing(),
            categories=self.categories,
            metrics=rounded(self.figures),
            training=self.configuration,
            dataset=self.configuration["data"],
            split=self.configuration["held_out"],
            files=self.pictures,
        )


def configuration(learned: Scenes, unseen: Scenes, recipe: Recipe) -> dict[str, Json]:
    """All that decides the outcome, as a checkpoint and a card name it."""
    return {"model": NAME, "data": learned.fingerprint, "held_out": unseen.fingerprint} | asdict(recipe)


def train(learned: Scenes, unseen: Scenes, recipe: Recipe, folder: Path, *, restart: bool = False) -> Trained:
    """Train in ``folder``, from where a killed training stood unless ``restart``; curves lie there too.

    Raises ``BadInput`` for scenes that cannot be learned from, and ``BadSettings`` when the folder is of
    another training.
    """
    if not len(learned) or not len(unseen):
        raise BadInput(f"{len(learned)} pictures to learn from and {len(unseen)} held out: both need some")
    refuse_leaks(learned, unseen)
    settings = configuration(learned, unseen, recipe)
    checkpoint, curves, looks = Checkpoint(folder, settings), Curves(folder), folder / "looks"
    if restart:
        checkpoint.clear()
        clear_parts(looks)
    saved = checkpoint.latest()
    if saved is None or saved.step < recipe.epochs:
        seen = look(learned, looks, "looking at scenes")
        fit(
            seen,
            look(unseen, looks, "looking at held-out scenes"),
            learned.categories,
            checkpoint,
            curves,
            recipe,
        )
        saved = checkpoint.latest()
    assert saved is not None, "fit has just written it"  # noqa: S101 - no input leads here
    clear_parts(looks)  # half a gigabyte that nobody needs again
    state = unpacked(saved.tensors, saved.state)
    head = Head(len(learned.categories)).eval()
    head.load_state_dict(state["head"])
    shown = {"curves.png": picture(curves.rows())}
    done = Trained(head, learned.categories, state["figures"], state["by_category"], settings, unseen, shown)
    with TemporaryDirectory(prefix="imgsearch-") as scratch:
        eyes = Detector(done.store(LocalObjectStore(Path(scratch))))
        return replace(done, pictures=shown | {"worst.jpg": worst_boxes(eyes, unseen)})


def fit(
    seen: Seen,
    unseen: Seen,
    categories: tuple[str, ...],
    checkpoint: Checkpoint,
    curves: Curves,
    recipe: Recipe,
) -> Head:
    """The head after all epochs: AdamW, one cycle of the learning rate; a checkpoint and a row an epoch."""
    count = len(seen.truth)
    batch = min(recipe.batch, count)
    steps = count // batch
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        # Convolutions and their gradients take two thirds of the time with channels last.
        head = Head(len(categories))
        head.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Most points are no item: the prior of RetinaNet (arXiv:1708.02002).
    head.heat.bias = torch.nn.Parameter(torch.full((len(categories),), -4.0))
    optimiser = torch.optim.AdamW(head.parameters(), lr=recipe.peak_rate, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.peak_rate, total_steps=recipe.epochs * steps, pct_start=0.15
    )
    order = torch.Generator().manual_seed(recipe.seed)
    done = 0
    if saved := checkpoint.latest():
        state = unpacked(saved.tensors, saved.state)
        done = saved.step
        head.load_state_dict(state["head"])
        optimiser.load_state_dict(state["optimiser"])
        rate.load_state_dict(state["rate"])
        order.set_state(state["order"])
    curves.cut(done)

    made = [targets(truth, categories, GRID) for truth in seen.truth]
    heat, boxes, weights = (torch.stack(part) for part in zip(*made, strict=True))
    with stage("training the head", recipe.epochs * steps) as advance, torch.random.fork_rng(devices=[]):
        advance(done * steps)
        for epoch in range(done + 1, recipe.epochs + 1):
            head.train()
            torch.manual_seed(recipe.seed + epoch)  # what is dropped; a resumed training drops the same
            losses = torch.zeros(2)
            shuffled = torch.randperm(count, generator=order)
            for rows in shuffled[: steps * batch].view(steps, batch):
                logits, sides = head(_dropped(seen.taps(rows), recipe.dropout))
                of_heat = heat_loss(logits, heat[rows])
                of_boxes = box_loss(corners(sides), boxes[rows], weights[rows])
                optimiser.zero_grad()
                (of_heat + _BOX_WEIGHT * of_boxes).backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(head.parameters(), 5.0)
                optimiser.step()
                rate.step()
                losses += torch.stack((of_heat, of_boxes)).detach()
                advance(1)
            figures, by_category = measure(head.eval(), unseen, categories)
            heat_mean, box_mean = (losses / steps).tolist()
            shown = {name: figures[name] for name in ("ap50", "map50", "ap")}
            curves.add(epoch, {"loss_heat": heat_mean, "loss_box": box_mean, **shown})
            parts = {
                "head": head.state_dict(),
                "optimiser": optimiser.state_dict(),
                "rate": rate.state_dict(),
                "order": order.get_state(),
                "figures": figures,
                "by_category": by_category,
            }
            checkpoint.save(epoch, *packed(parts))
    return head


def _dropped(taps: Taps, share: float) -> Taps:
    return Taps(*(F.dropout2d(tap, share) for tap in (taps.fine, taps.middle, taps.coarse)))


@torch.inference_mode()
def measure(
    head: Head, unseen: Seen, categories: tuple[str, ...], batch: int = 16
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Figures of a head over all scenes, and by category."""
    every: list[list[Detection]] = []
    found: list[list[Detection]] = []
    for start in range(0, len(unseen.truth), batch):
        logits, sides = head(unseen.taps(slice(start, start + batch)))
        every += items(logits, sides, categories, min_score=_LEAST_SCORE)
        found += items(logits, sides, categories)
    return _figures(every, found, unseen.truth, categories)


@torch.inference_mode()
def figures_of(bundle: Bundle, unseen: Scenes) -> dict[str, float]:
    """Figures of any stored detector, as ``measure`` gives them of a head: to be compared with a new one."""
    network = DetectorNetwork(len(bundle.card.categories))
    fill(network, bundle.tensors, torch.device("cpu"))
    every: list[list[Detection]] = []
    found: list[list[Detection]] = []
    truth: list[Truth] = []
    with stage("measuring the live detector", len(unseen)) as advance:
        for i in range(len(unseen)):
            pixels, known = unseen.scene(i)
            logits, sides = network(bundle.card.preprocessing.apply([pixels]))
            every += items(logits, sides, bundle.card.categories, min_score=_LEAST_SCORE)
            found += items(logits, sides, bundle.card.categories)
            truth.append(known)
            advance(1)
    return _figures(every, found, truth, tuple(dict.fromkeys((*unseen.categories, *bundle.card.categories))))[
        0
    ]


def _figures(
    every: Sequence[Sequence[Detection]],
    found: Sequence[Sequence[Detection]],
    truth: Sequence[Truth],
    categories: Sequence[str],
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The main item is chosen among boxes sure enough to serve, ``found``; the rest is of ``every`` one."""
    figures, by_category = figures_by_category(every, truth, categories)
    for iou in (0.5, 0.75):
        figures[f"main_item_iou{iou * 100:.0f}"] = main_item_found(found, truth, iou)
    return figures, by_category


def _weights(head: Head) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in head.state_dict().items()}
