from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imgsearch_assets.sample.drawing import encode

Put = Callable[..., Path]


@pytest.fixture
def put() -> Put:
    """Writes a small picture, another at every call: ``put(path, width, height)``."""
    count = iter(range(1, 1000))

    def picture(path: Path, width: int = 40, height: int = 30) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = np.full((height, width, 3), next(count) * 7 % 256, np.uint8)
        path.write_bytes(encode(grey, 90))
        return path

    return picture
