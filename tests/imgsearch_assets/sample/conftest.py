import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from imgsearch_assets.sample.catalogue import Sample, generate_sample, open_sample

PRODUCTS, SEED, PORT = 6, 5, 8123


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A small sample; not to be changed."""
    return generate_sample(tmp_path_factory.mktemp("sample"), PRODUCTS, SEED, PORT)


@pytest.fixture
def sample(drawn: Sample, tmp_path: Path) -> Sample:
    """A copy of it, to be changed."""
    return open_sample(Path(shutil.copytree(drawn.folder, tmp_path / "drawn")))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of photos as people have them: odd names, more than one format, things that are no photos."""
    folder = tmp_path / "my photos"
    rng = np.random.default_rng(0)
    for name in ("dress/one.jpg", "dress/one.png", "dress/été 2.JPG", "shoes/a b.jpeg"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = np.full((200, 160, 3), (40, 40, 200), np.uint8) + rng.integers(
            0, 9, (200, 160, 3), np.uint8
        )
        path.write_bytes(cv2.imencode(path.suffix.lower(), picture)[1].tobytes())
    (folder / "shoes" / "broken.jpg").write_bytes(b"no picture")
    (folder / "shoes" / "notes.txt").write_text("not a photo")
    (folder / "loose.jpg").write_bytes(b"outside of the folders")
    (folder / ".hidden").mkdir()
    return folder
