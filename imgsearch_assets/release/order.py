"""Runs that overlap: what is live is never exchanged for what was seen earlier."""

from collections.abc import Iterator
from contextlib import contextmanager

from imgsearch_assets.catalogue.snapshot import if_readable, live_manifest, products_key
from serving.errors import Conflict
from serving.object_store import ObjectStore


@contextmanager
def newest(store: ObjectStore, environment: str, snapshot: str) -> Iterator[None]:
    """Around the release of ``snapshot`` in ``environment``: one at a time, and none behind a later one.

    The pointer's compare-and-set stops two releases at once, not one that comes late. A snapshot is written
    whenever the catalogue is seen with its content, so the age of its file says when that was last. Raises
    ``Conflict`` when what is live was seen later.
    """
    with store.exclusive("releases"):
        live = if_readable(lambda: live_manifest(store, environment))
        if live is not None and live.snapshot != snapshot and _seen_later(store, live.snapshot, snapshot):
            raise Conflict(
                f"the catalogue was seen with snapshot {live.snapshot}, which is live, after {snapshot}: an "
                "overlapping run was faster, and this one releases nothing"
            )
        yield


def _seen_later(store: ObjectStore, one: str, other: str) -> bool:
    keys = products_key(one), products_key(other)
    return store.exists(keys[0]) and store.age_s(keys[0]) < store.age_s(keys[1])
