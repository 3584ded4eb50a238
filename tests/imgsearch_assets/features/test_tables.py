import hashlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from imgsearch_assets.features import tables
from imgsearch_assets.features.tables import (
    detect_pictures,
    detections_of,
    detections_table,
    embed_boxes,
    embeddings_table,
    vectors_of,
)
from imgsearch_assets.models.shipped import register_detector, register_embedder
from imgsearch_assets.sample.scenes import training_scene
from imgsearch_assets.tables import read_parquet
from serving.errors import NotFound
from serving.images.box import Box, crop
from serving.models.detector import Detector
from serving.models.embedder import Embedder
from serving.models.preprocess import open_picture
from serving.object_store import LocalObjectStore


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Detector, Embedder]:
    store = LocalObjectStore(tmp_path_factory.mktemp("models"))
    return Detector(register_detector(store)), Embedder(register_embedder(store))


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    made = []
    for number in range(7):
        sink = io.BytesIO()
        picture, _ = training_scene(np.random.default_rng([9, number]))
        Image.fromarray(picture).save(sink, "JPEG", quality=85)
        made.append(sink.getvalue())
    return made


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path)


def keep(store: LocalObjectStore, pictures: list[bytes]) -> list[str]:
    shas = [hashlib.sha256(data).hexdigest() for data in pictures]
    for sha, data in zip(shas, pictures, strict=True):
        store.put(f"images/{sha}", data)
    return shas


def boxes(*pairs: tuple[str, str]) -> pa.Table:
    return pa.table({"sha256": [sha for sha, _ in pairs], "box": [box for _, box in pairs]})


def test_every_picture_is_looked_at_once(store, models, pictures) -> None:
    detector, _ = models
    shas = keep(store, [*pictures[:3], b"not a picture"])
    counted: list[int] = []
    work = detect_pictures(store, detector, [*shas, shas[0]], counted.append)
    assert (work.made, work.reused, work.failed) == (4, 0, {"not_an_image": 1})
    assert sum(counted) == 5
    assert work.shas == set(shas)

    again = detect_pictures(store, detector, shas)
    assert (again.made, again.reused, again.failed, again.shas) == (0, 4, {}, frozenset())

    rows = {row["sha256"]: row for row in detections_table(store, detector.version).read().to_pylist()}
    assert rows[shas[3]]["status"] == "failed"
    assert rows[shas[3]]["reason"] == "not_an_image"
    for sha, data in zip(shas[:3], pictures, strict=False):
        picture = open_picture(data)
        assert (rows[sha]["height"], rows[sha]["width"]) == picture.shape[:2]
        found = detections_of(rows[sha])
        assert [one.category for one in found] == [one.category for one in detector.detect([picture])[0]]


def test_every_box_is_embedded_once_by_the_code_that_serves(store, models, pictures) -> None:
    _, embedder = models
    shas = keep(store, [*pictures[:2], b"not a picture"])
    part = Box(0.1, 0.2, 0.7, 0.9)
    wanted = boxes(*((sha, box.key) for sha in shas for box in (part, Box.whole())))
    work = embed_boxes(store, embedder, wanted)
    assert (work.made, work.reused, work.failed) == (6, 0, {"not_an_image": 2})
    assert work.shas == set(shas)
    again = embed_boxes(store, embedder, wanted)
    assert (again.made, again.reused, again.shas) == (0, 6, frozenset())

    rows = embeddings_table(store, embedder.version, embedder.dim).read()
    assert rows.filter(pa.compute.is_null(rows["vector"]))["status"].to_pylist() == ["failed", "failed"]
    good = rows.filter(pa.compute.is_valid(rows["vector"]))
    vectors = vectors_of(good)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for row, vector in zip(good.to_pylist(), vectors, strict=True):
        picture = open_picture(store.get(f"images/{row['sha256']}"))
        (online,) = embedder.embed([crop(picture, Box.from_key(row["box"]))])
        assert online @ vector >= 0.9999


def test_killed_work_keeps_its_finished_shards(store, models, pictures, monkeypatch) -> None:
    detector, _ = models
    shas = keep(store, pictures)
    monkeypatch.setattr(tables, "SHARD", 4)

    class Killed(Exception):
        pass

    def kill_in_the_second_shard(done: int) -> None:
        if len(detections_table(store, detector.version).read()):
            raise Killed

    with pytest.raises(Killed):
        detect_pictures(store, detector, shas, lambda done: done and kill_in_the_second_shard(done))
    work = detect_pictures(store, detector, shas)
    assert (work.made, work.reused) == (3, 4)


# Embeds every picture of the store whole, a picture a shard, and is killed when the third is written.
EMBEDDER = """
import os, signal, sys
from pathlib import Path

from imgsearch_assets.features import tables
from imgsearch_assets.models.shipped import register_embedder
from imgsearch_assets.tables import GrowingTable
from serving.models.embedder import Embedder
from serving.object_store import LocalObjectStore
from tests.imgsearch_assets.features.test_tables import all_of

store, append, written = LocalObjectStore(Path(sys.argv[1])), GrowingTable.append, []


def killed(self, rows):
    append(self, rows)
    written.append(rows)
    if len(written) == 3:
        os.kill(os.getpid(), signal.SIGKILL)


GrowingTable.append = killed
tables.SHARD = 1
embedder = Embedder(register_embedder(store))
embedder.batch = 1
tables.embed_boxes(store, embedder, all_of(store))
"""


def all_of(store: LocalObjectStore) -> pa.Table:
    return boxes(*((key.removeprefix("images/"), Box.whole().key) for key in store.list("images")))


def test_a_killed_step_embeds_nothing_twice(store, models, pictures) -> None:
    _, embedder = models
    keep(store, pictures)
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", EMBEDDER, store.root], env=os.environ | {"PYTHONPATH": str(root)}, check=False
    )
    assert done.returncode == -signal.SIGKILL

    told: list[int] = []
    work = embed_boxes(store, embedder, all_of(store), begin=told.append)
    assert told == [len(pictures) - 3]
    assert (work.made, work.reused) == (len(pictures) - 3, 3)
    fragments = [read_parquet(store, key) for key in store.list(f"tables/embeddings/{embedder.version}")]
    assert sum(rows.num_rows for rows in fragments) == len(pictures)


def test_a_picture_that_is_not_stored_is_no_row_but_an_error(store, models) -> None:
    detector, embedder = models
    with pytest.raises(NotFound, match=r"^there is no object images/00$"):
        detect_pictures(store, detector, ["00"])
    with pytest.raises(NotFound, match=r"^there is no object images/00$"):
        embed_boxes(store, embedder, boxes(("00", Box.whole().key)))
    assert detections_table(store, detector.version).read().num_rows == 0


def test_nothing_wanted(store, models) -> None:
    detector, embedder = models
    assert detect_pictures(store, detector, []).made == 0
    assert embed_boxes(store, embedder, boxes()).made == 0
