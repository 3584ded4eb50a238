import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from imgsearch_assets.models import Shipped
from imgsearch_assets.sample.design import CATEGORIES
from imgsearch_assets.training.detector import GRID, Seen, figures, main, scene, train
from serving.images.box import Box
from serving.models.backbone import TAP_CHANNELS, TAP_STRIDES
from serving.models.detector import Head


def painted(count: int) -> Seen:
    """Maps on which an item is what it is on no photograph: one channel a category, lit inside the box."""
    rng = np.random.default_rng(0)
    maps = [
        torch.zeros(count, c, GRID * 8 // s, GRID * 8 // s)
        for c, s in zip(TAP_CHANNELS, TAP_STRIDES, strict=True)
    ]
    truth = []
    for number in range(count):
        x, y = rng.uniform(0, 0.5, 2)
        wide, tall = rng.uniform(0.25, 0.5, 2)
        kind = int(rng.integers(len(CATEGORIES)))
        for tap in maps:
            side = tap.shape[-1]
            rows = slice(round(y * side), round((y + tall) * side))
            tap[number, kind, rows, round(x * side) : round((x + wide) * side)] = 3
        truth.append([(Box(x, y, x + wide, y + tall), CATEGORIES[kind])])
    return Seen(tuple(tap.half() for tap in maps), truth)


def test_a_head_learns_what_it_is_shown_and_the_same_each_time() -> None:
    seen = painted(32)
    before = figures(Head(len(CATEGORIES)).eval(), seen)
    head = train(seen, epochs=12, seed=1)
    after = figures(head.eval(), seen)
    assert after["ap50"] > 0.2 > 0.05 > before["ap50"]
    assert 0 <= after["main_item_iou75"] <= after["main_item_iou50"] <= 1
    short, again = (train(painted(16), epochs=1, seed=1).state_dict() for _ in range(2))
    assert all(torch.equal(short[name], again[name]) for name in short)


def test_a_scene_is_its_seed_and_number() -> None:
    pixels, truth = scene(0, 3)
    same, same_truth = scene(0, 3)
    assert torch.equal(pixels, same)
    assert truth == same_truth
    assert not torch.equal(pixels, scene(0, 4)[0])


@pytest.mark.slow
def test_the_command_writes_weights_that_fit_and_their_figures(tmp_path: Path, capsys) -> None:
    main(out=tmp_path, scenes=16, unseen=4, epochs=1, seed=0)
    head = Head(len(CATEGORIES))
    head.load_state_dict(safetensors.torch.load_file(tmp_path / "detector_head.safetensors"))
    card = Shipped.model_validate_json((tmp_path / "detector_head.json").read_bytes())
    assert card.categories == CATEGORIES
    assert card.training == {"scenes": 16, "unseen": 4, "epochs": 1, "seed": 0}
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {name: printed[name] for name in card.metrics} == card.metrics
