"""Runs that overlap: what is live is never exchanged for what was seen earlier, or with a model of before."""

from collections.abc import Iterator
from contextlib import contextmanager

from imgsearch_assets.catalogue.snapshot import if_readable, live_manifest, look_of
from serving.errors import Conflict, NotFound
from serving.index.generation import Manifest
from serving.models import detector, embedder
from serving.models.live import live_version
from serving.object_store import ObjectStore


@contextmanager
def newest(store: ObjectStore, environment: str, snapshot: str, manifest: Manifest) -> Iterator[None]:
    """Around the release of ``manifest``, of ``snapshot``: one at a time, and none behind a later one.

    The pointer's compare-and-set stops two releases at once, not one that comes late. Every look at the
    catalogue has a number (``look_of``), and of two models the later is that which is in use now. Raises
    ``Conflict`` when what is live was seen later, or is of a model that took the place of this one's.
    """
    with store.exclusive("releases"):
        live = if_readable(lambda: live_manifest(store, environment))
        if live is not None:
            if look_of(store, live.snapshot) > look_of(store, snapshot):
                raise Conflict(
                    f"the catalogue was seen with snapshot {live.snapshot}, which is live, after {snapshot}: "
                    "an overlapping run was faster, and this one releases nothing"
                )
            for name, made, other in (
                (embedder.NAME, manifest.embedder, live.embedder),
                (detector.NAME, manifest.detector, live.detector),
            ):
                if made != other and other == _in_use(store, name):
                    raise Conflict(
                        f"what is live is of {name} {other}, which took the place of {made}: an overlapping "
                        "run was faster, and this one releases nothing; start the job refresh"
                    )
        yield


def _in_use(store: ObjectStore, model: str) -> str | None:
    try:
        return live_version(store, model)
    except NotFound:
        return None
