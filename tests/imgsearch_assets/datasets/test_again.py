from pathlib import Path

import cv2
import numpy as np
import pytest

from imgsearch_assets.datasets.again import with_second_look
from imgsearch_assets.datasets.dataset import Labelled


def test_each_photo_is_a_product_and_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "hat" / "1.jpg"
    path.parent.mkdir()
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 200, (100, 80, 3), np.uint8))
    found = with_second_look([Labelled(path, category="hat", role="query")], tmp_path, tmp_path / "again")
    shop, street = found.pictures
    assert (shop.product, shop.category, shop.kind, shop.role) == ("hat/1.jpg", "hat", "shop", "")
    assert shop.path.read_bytes() == path.read_bytes()
    assert len(found.version) == 16
    assert (street.product, street.category, street.kind) == ("hat/1.jpg", "hat", "again")
    first, second = (cv2.imread(str(one.path)) for one in (shop, street))
    assert first is not None
    assert second is not None
    assert second.shape[0] * second.shape[1] / (100 * 80) == pytest.approx(0.7, abs=0.03)
    assert second.mean() > first.mean()
