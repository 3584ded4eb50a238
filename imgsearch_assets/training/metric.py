"""Metric learning of an embedder's head: what shows one product, or one category, ends close together.

The head is linear on the frozen trunk's descriptors, and stands beside a block that is only reduced
(principal components, no labels): what is learned finds the product or the kind, what is reduced keeps the
identity of pictures unlike those it learned from. A head of drawn garments alone was worse on photographs
than no head.

A killed training goes on from its last epoch and ends with the same weights.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
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
from serving.models.bundle import Block


@dataclass(frozen=True)
class Recipe:
    """How a head is trained; ``docs/training.md`` has what was measured.

    ``product_weight`` and ``category_weight`` weigh the two losses; ``block_weight`` is the learned block's
    against the reduced one's, which has 1. ``hard`` is the share of a batch's products that are neighbours of
    the others.
    """

    loss: Loss = "info_nce"
    dim: int = 128
    reduced_dim: int = 128
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
    seed: int = 0


@dataclass(frozen=True)
class Projection:
    """An embedder's last layer: weight float32 (dim, d), bias float32 (dim,), and the blocks of a vector."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    blocks: tuple[Block, ...]

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


def configuration(described: Described, recipe: Recipe, version: str) -> dict[str, Json]:
    """All that decides the outcome, as a checkpoint and a card name it."""
    return {"model": "embedder", "data": version, "pictures": len(described.rows), **asdict(recipe)}


def train(described: Described, recipe: Recipe, folder: Path, version: str = "") -> Projection:
    """A reduced block and a learned one, fitted to ``described``.

    Checkpoints and curves lie in ``folder``; a training found there goes on. ``version`` names the data.
    Raises ``BadSettings`` where one of another recipe or other data lies there.
    """
    head, mean, scale = _trained(described, recipe, folder, version)
    learned = head.weight.detach().numpy() * scale
    weight, bias = fit(_flat(described.rows[:, :PLAIN]), recipe.reduced_dim)
    blocks = (Block(dim=len(weight)), Block(dim=recipe.dim, weight=recipe.block_weight))
    return Projection(
        np.concatenate((weight, learned)),
        np.concatenate((bias, head.bias.detach().numpy() - learned @ mean)),
        blocks,
    )


def _trained(
    described: Described, recipe: Recipe, folder: Path, version: str
) -> tuple[nn.Linear, NDArray[np.float32], np.float32]:
    """The head on rows brought to mean 0 and scale 1; that mean float32 (d,) and scale."""
    flat = _flat(described.rows)
    mean, scale = flat.mean(0), np.float32(1 / max(float(flat.std(0).mean()), 1e-9))
    x = torch.from_numpy((described.rows - mean) * scale)
    torch.manual_seed(recipe.seed)
    head = nn.Linear(x.shape[-1], recipe.dim)
    by_product = objective(recipe.loss, int(described.products.max()) + 1, recipe.dim)
    by_category = InfoNCE()
    steps = max(1, len(np.unique(described.products)) // recipe.batch)
    proxies = list(by_product.parameters())
    rates = [recipe.rate, recipe.rate * 10] if proxies else [recipe.rate]
    groups: list[dict[str, Any]] = [{"params": list(head.parameters()), "weight_decay": recipe.decay}]
    if proxies:  # they have no use for decay, and further to go
        groups.append({"params": proxies, "weight_decay": 0.0})
    optimiser = torch.optim.AdamW(groups, lr=recipe.rate)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rates, total_steps=recipe.epochs * steps, pct_start=0.1
    )
    rng, noise = np.random.default_rng(recipe.seed), torch.Generator().manual_seed(recipe.seed)

    checkpoint = Checkpoint(folder, configuration(described, recipe, version))
    curves = Curves(folder)
    done = 0
    if saved := checkpoint.latest():
        state = unpacked(saved.tensors, saved.state)
        head.load_state_dict(state["head"])
        by_product.load_state_dict(state["objective"])
        optimiser.load_state_dict(state["optimiser"])
        rate.load_state_dict(state["rate"])
        rng.bit_generator.state, done = state["rng"], saved.step
        noise.set_state(state["noise"])
    curves.cut(done)

    products = torch.from_numpy(described.products)
    categories = torch.from_numpy(described.categories)
    with stage("training the head", recipe.epochs) as advance:
        advance(done)
        for epoch in range(done, recipe.epochs):
            losses = []
            for rows, seen in _batches(described, head, x, recipe, rng):
                y = head(_dropped(x[rows, seen], recipe.dropout, noise))
                loss = recipe.product_weight * by_product(y, products[rows])
                if recipe.category_weight:
                    loss = loss + recipe.category_weight * by_category(y, categories[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                rate.step()
                losses.append(float(loss.detach()))
            curves.add(epoch + 1, {"loss": float(np.mean(losses))})
            state = {
                "head": head.state_dict(),
                "objective": by_product.state_dict(),
                "optimiser": optimiser.state_dict(),
                "rate": rate.state_dict(),
                "rng": rng.bit_generator.state,
                "noise": noise.get_state(),
            }
            checkpoint.save(epoch + 1, *packed(state))
            advance(1)
    return head, mean, scale


def _batches(
    described: Described, head: nn.Linear, x: Tensor, recipe: Recipe, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Numbers of pictures and of views, int64 (n,) each: an epoch meets every product about once.

    ``recipe.hard`` of a batch are products that the head of this moment takes for others of the batch.
    """
    names, first = np.unique(described.products, return_inverse=True)
    order = np.argsort(first, kind="stable")
    pictures = np.split(order, np.searchsorted(first[order], np.arange(1, len(names))))
    neighbours: dict[int, NDArray[np.int64]] = {}
    if recipe.hard:
        with torch.inference_mode():
            y = F.normalize(head(x[:, :PLAIN].mean(1))).numpy()
        neighbours = nearest_others(y, first.astype(np.int64))
    size = min(recipe.batch, len(names))
    alone = max(1, round(size * (1 - recipe.hard)))
    for _ in range(max(1, len(names) // recipe.batch)):
        chosen = rng.permutation(len(names))
        batch = list(dict.fromkeys(chosen[:alone].tolist()))
        for product in batch[:alone]:
            others = neighbours.get(product, np.empty(0, np.int64))
            if len(others):
                batch.append(int(rng.choice(others)))
        batch = list(dict.fromkeys([*batch, *chosen.tolist()]))[:size]
        rows = np.concatenate([_some(pictures[product], recipe.rows, rng) for product in batch])
        yield torch.from_numpy(rows), torch.from_numpy(rng.integers(x.shape[1], size=len(rows)))


def _some(pictures: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``count`` of a product's pictures, each once before one comes again."""
    rounds = -(-count // len(pictures))
    return np.concatenate([rng.permutation(pictures) for _ in range(rounds)])[:count]


def _dropped(x: Tensor, share: float, noise: torch.Generator) -> Tensor:
    """Dropout with a generator of its own, whose state a checkpoint holds."""
    if not share:
        return x
    return x * (torch.rand(x.shape, generator=noise) >= share) / (1 - share)


def _flat(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows.reshape(-1, rows.shape[-1])
