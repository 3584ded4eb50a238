"""A publisher that is killed, by SIGKILL, between any two writes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from imgsearch_assets.release.publish import history, publish
from imgsearch_assets.release.retention import prune
from serving.index.artifact import load
from serving.index.store import read_manifest

ROOT = Path(__file__).resolve().parents[2]
PUBLISHER = """
import os, signal, sys
from pathlib import Path

from imgsearch_assets.release.publish import publish
from tests.conftest import Shop

left, rename = int(sys.argv[2]), Path.replace


def replace(self, target):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)


Path.replace = replace
shop = Shop(Path(sys.argv[1]), seed=1)
publish(shop.store, "local", shop.build("new").id, "test", "test")
"""


def killed_before_write(store: Path, write: int) -> int:
    """The exit status of a publisher that is killed when what it writes is on disk but has no name yet."""
    command = [sys.executable, "-c", PUBLISHER, str(store), str(write)]
    return subprocess.run(command, cwd=ROOT, timeout=120).returncode


def test_readers_see_the_old_generation_or_the_new_one(shop) -> None:
    old = shop.build("old")
    publish(shop.store, "local", old.id, "test", "test")
    for write in range(1, 6):  # items, products, base, manifest, pointer; each run finds more of them there
        status = killed_before_write(shop.store.root, write if write == 1 else 2)
        live = history(shop.store, "local")[0]
        load(shop.store, read_manifest(shop.store, live.generation, live.manifest_sha256))
        assert (status, live.generation) == (-signal.SIGKILL, old.id)
    assert killed_before_write(shop.store.root, 100) == 0
    live = history(shop.store, "local")[0]
    assert live.generation != old.id
    assert load(shop.store, read_manifest(shop.store, live.generation)).manifest.snapshot == "new"

    halves = list(shop.store.root.rglob("*.half~"))
    assert halves, "what a killed write leaves"
    prune(shop.store, keep=3)
    assert list(shop.store.root.rglob("*.half~")) == halves, "it may be of a writer that lives"
    for half in halves:
        os.utime(half, (0, 0))
    prune(shop.store, keep=3)
    assert not list((shop.store.root / "segments").rglob("*.half~"))
    assert {release.generation for release in history(shop.store, "local")} == {old.id, live.generation}
