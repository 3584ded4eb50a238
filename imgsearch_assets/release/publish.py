"""Making a generation live, and going back.

The order is that of a careful hand: read the pointer, verify and load the generation as a replica would,
run the gates, and only then move the pointer, if nobody moved it meanwhile.
"""

import logging
from collections.abc import Callable
from contextlib import closing

from imgsearch_assets.catalogue.snapshot import if_readable
from imgsearch_assets.gates.generation import run_gates, run_gates_of_deltas
from serving.errors import Unverified
from serving.index.artifact import load, read_deltas
from serving.index.release import rollback as go_back
from serving.index.store import (
    Pointer,
    PointerAt,
    Release,
    point,
    read_manifest,
    read_pointer,
)
from serving.object_store import ObjectStore
from serving.settings import Settings

log = logging.getLogger(__name__)


def publish(
    store: ObjectStore,
    environment: str,
    manifest_id: str,
    who: str,
    why: str,
    waive: frozenset[str] = frozenset(),
    on_trial: bool = False,
    seen: PointerAt | None = None,
    agree: Callable[[], object] = lambda: None,
) -> Pointer:
    """Make a generation live in ``environment``; the pointer as it is then.

    One that is live already is left as it is, unless it was written anew since. Of one that differs from
    what is live by its deltas alone these are loaded and gated, not its base. ``waive`` names gates whose
    verdict does not matter this time (a shop that really drops half its products). ``on_trial`` is noted
    with the release, see ``rollout``; ``seen`` is the state that may change, the present one if it is not
    given; ``agree`` as ``point``'s. Raises ``NotFound``, ``Unverified`` (the pointer stays) or ``Conflict``
    (another publisher was first).
    """
    seen = seen or read_pointer(store, environment)
    manifest = read_manifest(store, manifest_id)
    live = None
    if seen.pointer is not None:
        release = seen.pointer.live
        live = if_readable(lambda: read_manifest(store, release.generation, release.manifest_sha256))
        if manifest == live:
            return seen.pointer
    if live is not None and manifest.deltas and manifest.segments == live.segments:
        # The base was loaded and passed its gates before it went live here.
        gates = run_gates_of_deltas(manifest, read_deltas(store, manifest)[0], live)
    else:
        gates = run_gates(load(store, manifest), live)
    failed = [gate for gate in gates if not gate.passed and gate.name not in waive]
    if failed:
        reasons = "; ".join(f"{gate.name}: {gate.message}" for gate in failed)
        raise Unverified(f"generation {manifest_id} stays out of {environment}: {reasons}")
    return point(store, environment, manifest, who, why, seen, on_trial=on_trial, agree=agree)


def rollback(
    store: ObjectStore,
    environment: str,
    who: str,
    why: str,
    to: str | None = None,
    leaving: Release | None = None,
) -> Pointer:
    """As ``serving.index.release.rollback``, of a generation that was loaded as a replica would before."""
    return go_back(store, environment, who, why, to, lambda manifest: load(store, manifest), leaving)


def follow_in_milvus(store: ObjectStore, environment: str, settings: Settings, keep: int) -> None:
    """Make Milvus serve what the pointer of ``environment`` names, where it is what searches.

    Its alias knows no compare-and-set, so it follows the pointer; after a failure the next call makes up for
    it. ``keep`` as ``prune``'s. Raises as ``serving.milvus.publish.follow``.
    """
    if settings.search_backend != "milvus":
        return
    from serving.milvus.client import client_of
    from serving.milvus.publish import follow

    with closing(client_of(settings)) as client:
        follow(store, environment, client, keep)


def status(store: ObjectStore, environment: str) -> Release | None:
    """What is live in ``environment``, None before its first release."""
    pointer = read_pointer(store, environment).pointer
    return pointer.live if pointer else None


def history(store: ObjectStore, environment: str) -> list[Release]:
    """The releases of ``environment`` that are remembered, the live one first."""
    pointer = read_pointer(store, environment).pointer
    return list(pointer.history) if pointer else []
