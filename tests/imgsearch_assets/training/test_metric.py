import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgsearch_assets.training import metric
from imgsearch_assets.training.checkpoint import Checkpoint, sha256_of
from imgsearch_assets.training.described import Described
from imgsearch_assets.training.metric import Projection, Recipe, train
from imgsearch_assets.training.objective import Loss
from serving.errors import BadSettings

SMALL = Recipe(dim=6, reduced_dim=4, epochs=3, batch=8, rows=3, category_weight=0.5, rate=1e-2)


class Killed(Exception):
    """As SIGKILL would, only that the test goes on."""


@pytest.fixture(scope="module")
def described() -> Described:
    """24 products of 3 categories, three pictures each, told apart by little beside what is noise."""
    rng = np.random.default_rng(0)
    products = np.repeat(np.arange(24), 3)
    own = rng.normal(size=(24, 5))[products]
    rows = np.concatenate((rng.normal(size=(72, 4, 7)) * 3, np.repeat(own[:, None], 4, 1)), 2)
    return Described(rows.astype(np.float32), products, products % 3)


def found(projection: Projection, described: Described) -> float:
    """Share of pictures whose nearest other picture is of the same product."""
    v = projection.vectors(described.rows[:, 0])
    scores = v @ v.T
    np.fill_diagonal(scores, -1)
    return float((described.products[scores.argmax(1)] == described.products).mean())


def test_what_is_learned_finds_the_product(described: Described, tmp_path: Path) -> None:
    recipe = replace(SMALL, epochs=20, dropout=0.0, rate=5e-2)
    learned = train(described, replace(recipe, block_weight=100.0), tmp_path / "learned")
    reduced = train(described, replace(recipe, epochs=1, block_weight=1e-6), tmp_path / "reduced")
    assert found(learned, described) > 0.6 > found(reduced, described)


@pytest.fixture(scope="module")
def early() -> Described:
    """12 pictures as the trunk leaves them before its last stage."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(12, 2, 9560)).astype(np.float32)
    return Described(rows, np.arange(12), np.arange(12) % 2)


@pytest.mark.parametrize(("loss", "tuned_rate"), [("info_nce", 0.0), ("arcface", 0.0), ("info_nce", 1e-3)])
def test_a_killed_training_ends_with_the_same_weights(
    described: Described,
    early: Described,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loss: Loss,
    tuned_rate: float,
) -> None:
    recipe = replace(SMALL, loss=loss, tuned_rate=tuned_rate)
    if tuned_rate:
        described = early
    whole = train(described, recipe, tmp_path / "whole")
    save = Checkpoint.save

    def killed_after_one(self: Checkpoint, step: int, *rest: object) -> Path:
        path = save(self, step, *rest)  # type: ignore[arg-type]
        if step == 1:
            raise Killed
        return path

    monkeypatch.setattr(Checkpoint, "save", killed_after_one)
    with pytest.raises(Killed):
        train(described, recipe, tmp_path / "killed")
    monkeypatch.undo()
    resumed = train(described, recipe, tmp_path / "killed")
    assert sha256_of(resumed.tensors()) == sha256_of(whole.tensors())
    assert sha256_of(resumed.tuned) == sha256_of(whole.tuned)
    assert bool(resumed.tuned) == bool(tuned_rate)
    assert (tmp_path / "killed" / "curves.jsonl").read_text() == (
        tmp_path / "whole" / "curves.jsonl"
    ).read_text()


def test_what_is_known_to_be_confused_is_learned_together(
    described: Described, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = replace(described, names=tuple(f"p{number:02d}" for number in range(24)))
    monkeypatch.setattr(metric, "nearest_others", lambda *_: dict.fromkeys(range(24), metric._NONE))
    batches: list[set[int]] = []
    real = metric._batches

    def seen(*given: Any) -> Iterator[Any]:
        for rows, view in real(*given):
            batches.append(set(described.products[rows.numpy()].tolist()))
            yield rows, view

    monkeypatch.setattr(metric, "_batches", seen)
    pairs = {f"p{number:02d}": (f"p{number ^ 1:02d}", "of another part") for number in range(24)}
    recipe = replace(SMALL, epochs=10, batch=4, hard=0.5)
    train(named, recipe, tmp_path / "with", {"index": "g"}, pairs)
    assert len(batches) == 60
    assert all(sum(number ^ 1 in batch for number in batch) >= 2 for batch in batches)
    with pytest.raises(BadSettings, match="index"):
        train(named, recipe, tmp_path / "with", {"index": "another"}, pairs)


def test_who_watches_has_no_say(described: Described, tmp_path: Path) -> None:
    shapes = []

    def watch(vectors: metric.Vectors) -> dict[str, float]:
        rows = vectors(described.rows[:5, 0])
        shapes.append(rows.shape)
        return {"recall_at_1": float(np.linalg.norm(rows, axis=1).mean())}

    watched = train(described, SMALL, tmp_path / "watched", watch=watch)
    alone = train(described, SMALL, tmp_path / "alone")
    assert sha256_of(watched.tensors()) == sha256_of(alone.tensors())
    assert shapes == [(5, 6)] * 3
    rows = [json.loads(line) for line in (tmp_path / "watched" / "curves.jsonl").read_text().splitlines()]
    assert [row["recall_at_1"] for row in rows] == pytest.approx([1.0] * 3)


def test_a_seed_decides(described: Described, tmp_path: Path) -> None:
    first, again, other = (
        sha256_of(train(described, replace(SMALL, seed=seed), tmp_path / str(i)).tensors())
        for i, seed in enumerate((1, 1, 2))
    )
    assert first == again != other


def test_another_recipe_is_refused_in_the_same_folder(described: Described, tmp_path: Path) -> None:
    train(described, SMALL, tmp_path)
    with pytest.raises(BadSettings, match="dropout"):
        train(described, replace(SMALL, dropout=0.1), tmp_path)


def test_blocks_are_weighed_and_vectors_are_of_unit_length(described: Described, tmp_path: Path) -> None:
    projection = train(described, replace(SMALL, block_weight=3.0), tmp_path)
    v = projection.vectors(described.rows)
    assert v.shape == (72, 4, 10)
    np.testing.assert_allclose(np.linalg.norm(v, axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(v[..., :4], axis=-1), 0.5, atol=1e-5)


def test_pictures_without_labels_are_products_of_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    lone = Described(rng.normal(size=(10, 3, 8)).astype(np.float32), np.arange(10), np.full(10, -1))
    assert np.isfinite(train(lone, SMALL, tmp_path).weight).all()
