"""Metric learning of an embedder's head: what shows one product, or one category, ends close together.

The head is linear on the frozen trunk's descriptors, and stands beside a block that is only reduced
(principal components, no labels): what is learned finds the product or the kind, what is
reduced keeps what the trunk knows of pictures unlike those it learned from. A head of drawn garments alone
was worse on photographs than no head.

A killed training goes on from its last epoch and ends with the same weights.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from imgsearch_assets.progress import stage
from imgsearch_assets.training.checkpoint import Checkpoint, Json, packed, unpacked
from imgsearch_assets.training.curves import Curves
from imgsearch_assets.training.described import PLAIN, Described
from imgsearch_assets.training.hard import nearest_others
from imgsearch_assets.training.objective import InfoNCE, Loss, objective
from imgsearch_assets.training.reduce import fit, project
from imgsearch_assets.training.tail import Tail, tail
from serving.models.bundle import Block
from serving.models.trunk import Descriptor

# Descriptors float32 (n, d) to vectors float32 (n, dim) of unit length.
Vectors = Callable[[NDArray[np.float32]], NDArray[np.float32]]
# What the curves show of an epoch, by the head as it stands.
Watch = Callable[[Vectors], Mapping[str, float]]
# Products, as numbers, that each product is taken for.
Neighbours = Mapping[int, NDArray[np.int64]]
_NONE: NDArray[np.int64] = np.empty(0, np.int64)

_TUNED_DECAY = 0.05
_PART = 64  # rows that the trunk's last stage takes at once


@dataclass(frozen=True)
class Recipe:
    """How a head is trained; ``docs/training.md`` has what was measured.

    ``product_weight`` and ``category_weight`` weigh the two losses; ``block_weight`` is the learned block's
    against the reduced one's, which has 1, and which is of a descriptor's first ``reduced_width`` numbers.
    ``hard`` is the share of a batch's products that are neighbours of
    the others.
    """

    loss: Loss = "info_nce"
    dim: int = 128
    reduced_dim: int = 128
    reduced_width: int = Descriptor.last_width
    block_weight: float = 1.0
    product_weight: float = 1.0
    category_weight: float = 0.0
    epochs: int = 30
    batch: int = 128  # products
    rows: int = 4  # of each product
    rate: float = 3e-3
    decay: float = 1e-2
    dropout: float = 0.3
    hard: float = 0.5
    tuned_rate: float = 0.0  # of the trunk's last stage; 0 leaves it as it is
    seed: int = 0


@dataclass(frozen=True)
class Projection:
    """An embedder's last layer: weight float32 (dim, d), bias float32 (dim,), and the blocks of a vector."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    blocks: tuple[Block, ...]
    tuned: Mapping[str, Tensor] = field(default_factory=dict)  # of the trunk, as ``Descriptor`` names them

    def vectors(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Descriptors float32 (..., d) to vectors float32 (..., dim), rows unit length."""
        total = sum(block.weight for block in self.blocks)
        parts, start = [], 0
        for block in self.blocks:
            part = slice(start, start + block.dim)
            parts.append(
                project(rows, self.weight[part], self.bias[part]) * np.float32((block.weight / total) ** 0.5)
            )
            start += block.dim
        return np.concatenate(parts, -1)

    def tensors(self) -> dict[str, Tensor]:
        """As a bundle names them, without the prefix ``project.``."""
        return {"weight": torch.from_numpy(self.weight), "bias": torch.from_numpy(self.bias)}


def configuration(recipe: Recipe, origin: Mapping[str, Json]) -> dict[str, Json]:
    """All that decides the outcome, as a checkpoint and a card name it."""
    return {"model": "embedder", **origin, **asdict(recipe)}


def train(
    described: Described,
    recipe: Recipe,
    folder: Path,
    origin: Mapping[str, Json] | None = None,
    negatives: Mapping[str, Sequence[str]] | None = None,
    watch: Watch | None = None,
) -> Projection:
    """A reduced block and a learned one, fitted to ``described``; ``watch`` has no say in it.

    ``negatives`` are products that are known to be taken for each other, beside those that the head of the
    moment confuses. Checkpoints and curves lie in ``folder``; a training found there goes on. ``origin``
    names what ``described`` and ``negatives`` come from. Raises ``BadSettings`` where a training of another
    recipe or other data lies there.
    """
    body = tail() if recipe.tuned_rate else nn.Identity()
    checkpoint = Checkpoint(folder, configuration(recipe, origin or {}))
    known = _by_number(negatives or {}, described.names)
    head, mean, scale = _trained(described, body, recipe, checkpoint, known, watch)
    learned = head.weight.detach().numpy() * scale
    plain = _through(body, _flat(described.rows[:, :PLAIN]))
    weight, bias = fit(plain, recipe.reduced_dim, recipe.reduced_width)
    blocks = (Block(dim=len(weight)), Block(dim=recipe.dim, weight=recipe.block_weight))
    return Projection(
        np.concatenate((weight, learned)),
        np.concatenate((bias, head.bias.detach().numpy() - learned @ mean)),
        blocks,
        body.tensors() if isinstance(body, Tail) else {},
    )


def _trained(
    described: Described,
    body: nn.Module,
    recipe: Recipe,
    checkpoint: Checkpoint,
    known: Neighbours,
    watch: Watch | None,
) -> tuple[nn.Linear, NDArray[np.float32], np.float32]:
    """The head on rows that ``body`` gives, brought to mean 0 and scale 1; that mean float32 (d,) and scale.

    ``body`` is tuned with it where it has weights.
    """
    x = torch.from_numpy(described.rows)
    plain = _through(body, _flat(described.rows[:, :PLAIN]))
    mean, scale = plain.mean(0), np.float32(1 / max(float(plain.std(0).mean()), 1e-9))
    middle, size = torch.from_numpy(mean), float(scale)

    torch.manual_seed(recipe.seed)
    head = nn.Linear(len(mean), recipe.dim)
    by_product = objective(recipe.loss, int(described.products.max()) + 1, recipe.dim)
    by_category = InfoNCE()
    steps = max(1, len(np.unique(described.products)) // recipe.batch)
    proxies = list(by_product.parameters())
    rates = [recipe.rate]
    groups: list[dict[str, Any]] = [{"params": list(head.parameters()), "weight_decay": recipe.decay}]
    if proxies:  # they have no use for decay, and further to go
        groups.append({"params": proxies, "weight_decay": 0.0})
        rates.append(recipe.rate * 10)
    if recipe.tuned_rate:
        groups.append({"params": list(body.parameters()), "weight_decay": _TUNED_DECAY})
        rates.append(recipe.tuned_rate)
    optimiser = torch.optim.AdamW(groups, lr=recipe.rate)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rates, total_steps=recipe.epochs * steps, pct_start=0.1
    )
    rng, noise = np.random.default_rng(recipe.seed), torch.Generator().manual_seed(recipe.seed)

    curves = Curves(checkpoint.folder)
    done = 0
    if saved := checkpoint.latest():
        state = unpacked(saved.tensors, saved.state)
        head.load_state_dict(state["head"])
        body.load_state_dict(state["body"])
        by_product.load_state_dict(state["objective"])
        optimiser.load_state_dict(state["optimiser"])
        rate.load_state_dict(state["rate"])
        rng.bit_generator.state, done = state["rng"], saved.step
        noise.set_state(state["noise"])
    curves.cut(done)

    def vectors(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """As the head of this moment has them."""
        rows = (_through(body, rows) - mean) * scale
        with torch.inference_mode():
            y: NDArray[np.float32] = F.normalize(head(torch.from_numpy(rows))).numpy()
        return y

    products = torch.from_numpy(described.products)
    categories = torch.from_numpy(described.categories)
    with stage("training the head", recipe.epochs) as advance:
        advance(done)
        for epoch in range(done, recipe.epochs):
            losses = []
            for rows, seen in _batches(described, vectors, recipe, rng, known):
                y = head(_dropped((body(x[rows, seen]) - middle) * size, recipe.dropout, noise))
                loss = recipe.product_weight * by_product(y, products[rows])
                if recipe.category_weight:
                    loss = loss + recipe.category_weight * by_category(y, categories[rows])
                optimiser.zero_grad()
                loss.backward()
                if recipe.tuned_rate:
                    torch.nn.utils.clip_grad_norm_(body.parameters(), 1.0)
                optimiser.step()
                rate.step()
                losses.append(float(loss.detach()))
            curves.add(
                epoch + 1, {"loss": float(np.mean(losses)), **(watch(vectors) if watch is not None else {})}
            )
            state = {
                "head": head.state_dict(),
                "body": body.state_dict(),
                "objective": by_product.state_dict(),
                "optimiser": optimiser.state_dict(),
                "rate": rate.state_dict(),
                "rng": rng.bit_generator.state,
                "noise": noise.get_state(),
            }
            checkpoint.save(epoch + 1, *packed(state))
            advance(1)
    curves.draw()
    return head, mean, scale


def _batches(
    described: Described,
    vectors: Vectors,
    recipe: Recipe,
    rng: np.random.Generator,
    known: Neighbours,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Numbers of pictures and of views, int64 (n,) each: an epoch meets every product about once.

    ``recipe.hard`` of a batch are products that others of the batch are taken for: by ``vectors`` of this
    moment, or as is ``known``.
    """
    names, first = np.unique(described.products, return_inverse=True)
    order = np.argsort(first, kind="stable")
    pictures = np.split(order, np.searchsorted(first[order], np.arange(1, len(names))))
    neighbours: Neighbours = {}
    if recipe.hard:
        of_the_moment = nearest_others(vectors(described.rows[:, 0]), first.astype(np.int64))
        neighbours = {i: np.concatenate((some, known.get(i, _NONE))) for i, some in of_the_moment.items()}
    size = min(recipe.batch, len(names))
    alone = max(1, round(size * (1 - recipe.hard)))
    for _ in range(max(1, len(names) // recipe.batch)):
        chosen = rng.permutation(len(names))
        batch = list(dict.fromkeys(chosen[:alone].tolist()))
        for product in batch[:alone]:
            others = neighbours.get(product, _NONE)
            if len(others):
                batch.append(int(rng.choice(others)))
        batch = list(dict.fromkeys([*batch, *chosen.tolist()]))[:size]
        rows = np.concatenate([_some(pictures[product], recipe.rows, rng) for product in batch])
        yield torch.from_numpy(rows), torch.from_numpy(rng.integers(described.rows.shape[1], size=len(rows)))


def _by_number(names: Mapping[str, Sequence[str]], known: Sequence[str]) -> Neighbours:
    """Products by their number in ``known``; others are left out."""
    numbers = {name: i for i, name in enumerate(known)}
    return {
        numbers[name]: np.array([numbers[other] for other in others if other in numbers], np.int64)
        for name, others in names.items()
        if name in numbers
    }


def _some(pictures: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``count`` of a product's pictures, each once before one comes again."""
    rounds = -(-count // len(pictures))
    return np.concatenate([rng.permutation(pictures) for _ in range(rounds)])[:count]


def _dropped(x: Tensor, share: float, noise: torch.Generator) -> Tensor:
    """Dropout with a generator of its own, whose state a checkpoint holds."""
    if not share:
        return x
    return x * (torch.rand(x.shape, generator=noise) >= share) / (1 - share)


def _through(body: nn.Module, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows as ``body`` gives them, float32 (n, d), a few at a time."""
    with torch.inference_mode():
        return np.concatenate(
            [
                body(torch.from_numpy(rows[start : start + _PART])).numpy()
                for start in range(0, len(rows), _PART)
            ]
        )


def _flat(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows.reshape(-1, rows.shape[-1])
