"""Making a generation live, and going back.

The order is that of a careful hand: read the pointer, verify and load the generation as a replica would,
run the gates, and only then move the pointer, if nobody moved it meanwhile.
"""

import logging
from collections.abc import Callable
from contextlib import closing

from imgsearch_assets.catalogue.snapshot import if_readable
from imgsearch_assets.gates.generation import run_gates, run_gates_of_deltas
from imgsearch_assets.trial.golden import golden_key
from serving.errors import BadInput, Unverified
from serving.index.artifact import load, read_deltas
from serving.index.generation import manifest_key
from serving.index.release import rollback as go_back
from serving.index.store import (
    NewerFormat,
    Pointer,
    PointerAt,
    Release,
    changing,
    environments,
    generations,
    point,
    read_manifest,
    read_pointer,
    to_go_back_to,
)
from serving.object_store import ObjectStore
from serving.settings import Settings

# No build takes longer from its first segment to its manifest.
_ABANDONED_S = 24 * 3600.0

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


def prune(store: ObjectStore, keep: int) -> list[str]:
    """Remove generations that nobody can need, with the segments only they name; their ids.

    Kept are, of every environment, the latest releases until ``keep`` generations are among them that nobody
    rolled back from; and the ``keep`` generations made last. Segments are kept for a day after they were last
    written or taken over: a build may be about to name them. So is a manifest that nobody can read.

    Raises ``Unverified``, and removes nothing, while a pointer cannot be read, or a manifest that one names,
    or one of a newer pipeline: what they need is not known here.
    """
    if keep < 1:
        raise BadInput(f"keep is {keep}; at least 1 generation is kept")
    with changing(store):
        manifests, unreadable = generations(store)
        kept = _released(store, keep) | {manifest.id for manifest in manifests[:keep]}
        for generation, error in unreadable.items():
            if generation in kept or isinstance(error, NewerFormat):
                raise Unverified(f"nothing is pruned: {error}")
        removed = [manifest.id for manifest in manifests if manifest.id not in kept]
        removed += [name for name in unreadable if store.age_s(manifest_key(name)) > _ABANDONED_S]
        for generation in removed:
            store.delete(manifest_key(generation))
            store.delete(golden_key(generation))
        named = {segment.key for manifest in manifests if manifest.id in kept for segment in manifest.files}
        for key in list(store.list("segments")):
            if key not in named and store.age_s(key) > _ABANDONED_S:
                store.delete(key)
    store.tidy("segments", _ABANDONED_S)
    return removed


def _released(store: ObjectStore, keep: int) -> set[str]:
    """What every environment may go back to, see ``prune``. Raises ``Unverified``."""
    found: set[str] = set()
    for environment in environments(store):
        try:
            found |= set(to_go_back_to(history(store, environment), keep))
        except Unverified as error:
            raise Unverified(f"nothing is pruned: {error}") from None
    return found
