import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgsearch_assets.training.curves import Curves, picture


def test_rows_are_kept_and_a_resumed_training_overwrites_its_own(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "new")
    assert curves.rows() == []
    for epoch in (1, 2, 3):
        curves.add(epoch, {"loss": 1 / epoch, "ap50": epoch / 10})
    curves.cut(2)
    assert [row["epoch"] for row in curves.rows()] == [1, 2]
    curves.add(2, {"loss": 0.1})
    assert curves.rows() == [{"epoch": 1, "loss": 1.0, "ap50": 0.1}, {"epoch": 2, "loss": 0.1}]
    curves.draw()
    assert (tmp_path / "new" / "curves.png").read_bytes() == picture(curves.rows())
    curves.cut(0)
    assert not list((tmp_path / "new").iterdir())


def test_the_picture_has_a_panel_of_losses_and_one_of_figures() -> None:
    rows = [{"epoch": n, "loss": 5 / n, "ap50": 1 - 0.5**n, "map50": 1 - 0.8**n} for n in range(1, 10)]
    both = Image.open(io.BytesIO(picture(rows)))
    assert both.size == (1120, 360)
    left, right = np.split(np.asarray(both.convert("RGB")), 2, axis=1)
    blue, orange = np.array((0, 114, 178)), np.array((213, 94, 0))
    assert (left == blue).all(2).sum() > 300
    assert not (left == orange).all(2).any()
    assert (right == orange).all(2).sum() > 300
    # The loss falls: blue high on the left of its panel, low on the right.
    y, x = np.nonzero((left == blue).all(2))
    assert y[x < 150].mean() < y[(x > 200) & (x < 400)].mean()


@pytest.mark.parametrize(
    "rows",
    [
        [{"epoch": 1, "loss": 0.5}],
        [{"epoch": 1, "ap50": 0.0}, {"epoch": 2, "ap50": 0.0}],
        [{"epoch": 1, "loss": float("nan")}, {"epoch": 2, "loss": float("inf")}],
        [{"epoch": n, "loss": 1e6 / n} for n in range(1, 300)],
    ],
)
def test_any_rows_can_be_drawn(rows) -> None:
    assert Image.open(io.BytesIO(picture(rows))).size == (560, 360)
