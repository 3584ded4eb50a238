import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
from PIL import Image

from imgsearch_assets.models import Shipped
from imgsearch_assets.training.embedder import DIM, fit, main, project, ranks, street_to_shop
from serving.models.embedder import DESCRIPTOR


def test_components_are_those_of_most_variance_half_whitened() -> None:
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    deviation = np.array([16, 9, 4, 1, 0.1, 0.01])
    rows = ((rng.normal(size=(4000, 6)) * deviation) @ turn.T + 5).astype(np.float32)
    weight, bias = fit(rows, 3)
    out = rows @ weight.T + bias
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-2)
    np.testing.assert_allclose(out.std(0), np.sqrt(deviation[:3]), rtol=0.05)
    np.testing.assert_allclose(np.abs(np.corrcoef(out.T) - np.eye(3)), 0, atol=1e-2)
    np.testing.assert_allclose(np.linalg.norm(project(rows, weight, bias), axis=1), 1, atol=1e-5)


def test_a_product_scores_its_best_pair() -> None:
    a, b, c = np.eye(3, dtype=np.float32)
    queries = np.stack([[a, c], [b, b]])
    gallery = np.stack([[b, a], [c, b]])
    assert ranks(queries, gallery).tolist() == [0, 0]
    # A tie is no better product before the right one; product 1 shows what query 0 asks, product 0 does not.
    assert ranks(np.stack([[a, a], [b, b]]), np.stack([[c, c], [a, b]])).tolist() == [1, 0]


def test_street_to_shop_counts_products_found() -> None:
    vectors = np.zeros((4, 3, 2, 4), np.float32)
    for number in range(4):
        vectors[number, :, :, number] = 1
    vectors[3, 2] = vectors[0, 0]  # the street picture of product 3 shows product 0
    assert street_to_shop(vectors) == {"street_recall_at_1": 0.75, "street_recall_at_10": 1.0}


@pytest.mark.slow
def test_the_command_writes_weights_that_fit_and_their_figures(tmp_path: Path, capsys) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (80, 60, 3), np.uint8)).save(photos / f"{number}.jpg")
    main(out=tmp_path, products=24, unseen=2, photos=photos, seed=0)
    tensors = safetensors.torch.load_file(tmp_path / "embedder_projection.safetensors")
    assert tuple(tensors["weight"].shape) == (DIM, DESCRIPTOR)
    assert tuple(tensors["bias"].shape) == (DIM,)
    card = Shipped.model_validate_json((tmp_path / "embedder_projection.json").read_bytes())
    assert card.metrics["photos"] == 3
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {name: printed[name] for name in card.metrics} == card.metrics
