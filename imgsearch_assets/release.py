"""Making a generation live, and going back.

The order is that of a careful hand: read the pointer, verify and load the generation as a replica would,
run the gates, and only then move the pointer, if nobody moved it meanwhile.
"""

import logging
from contextlib import closing

from imgsearch_assets.gates import run_gates, run_gates_of_deltas
from serving.errors import BadInput, NotFound, Unverified
from serving.index.artifact import load, read_deltas
from serving.index.generation import Manifest
from serving.index.store import Pointer, Release, list_generations, point, read_manifest, read_pointer
from serving.object_store import ObjectStore
from serving.settings import Settings

# Generations that stay loadable, for a roll-back.
KEEP = 3
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
) -> Pointer:
    """Make a generation live in ``environment``; the pointer as it is then.

    One that is live already is left as it is. Of one that differs from what is live by its deltas alone these
    are loaded and gated, not its base. ``waive`` names gates whose verdict does not matter this time
    (a shop that really drops half its products). Raises ``NotFound``, ``Unverified`` (the pointer stays) or
    ``Conflict`` (another publisher was first).
    """
    seen = read_pointer(store, environment)
    manifest = read_manifest(store, manifest_id)
    if seen.pointer is not None and seen.pointer.live.generation == manifest_id:
        return seen.pointer
    live = read_manifest(store, seen.pointer.live.generation) if seen.pointer else None
    if live is not None and manifest.deltas and manifest.segments == live.segments:
        # The base was loaded and passed its gates before it went live here.
        gates = run_gates_of_deltas(manifest, read_deltas(store, manifest)[0], live)
    else:
        gates = run_gates(load(store, manifest), live)
    failed = [gate for gate in gates if not gate.passed and gate.name not in waive]
    if failed:
        reasons = "; ".join(f"{gate.name}: {gate.message}" for gate in failed)
        raise Unverified(f"generation {manifest_id} stays out of {environment}: {reasons}")
    return point(store, environment, manifest, who, why, seen)


def rollback(store: ObjectStore, environment: str, who: str, why: str, to: str | None = None) -> Pointer:
    """Make an earlier generation live again: the latest that nobody rolled back from, or ``to``.

    Verified and loaded before, but past no gate: it was live. Raises ``NotFound`` when there is none to
    go back to, ``Unverified`` or ``Conflict``.
    """
    seen = read_pointer(store, environment)
    if seen.pointer is None:
        raise NotFound(f"nothing was ever released in {environment}")
    left = seen.pointer.live.generation
    bad = {left, *(release.rolled_back_from for release in seen.pointer.history)}
    release = next(
        (
            found
            for found in seen.pointer.earlier
            if found.generation == to or (to is None and found.generation not in bad)
        ),
        None,
    )
    if release is None:
        raise NotFound(
            f"generation {to} was not live in {environment} before"
            if to
            else f"there is no earlier generation in {environment} to go back to"
        )
    manifest = read_manifest(store, release.generation, release.manifest_sha256)
    load(store, manifest)
    return point(store, environment, manifest, who, why, seen, rolled_back_from=left)


def follow_in_milvus(store: ObjectStore, environment: str, settings: Settings) -> None:
    """Make Milvus serve what the pointer of ``environment`` names, where it is what searches.

    Its alias knows no compare-and-set, so it follows the pointer; after a failure the next call makes up for
    it. Raises as ``serving.milvus.publish.follow``.
    """
    if settings.search_backend != "milvus":
        return
    from serving.milvus.client import client_of
    from serving.milvus.publish import follow

    with closing(client_of(settings)) as client:
        follow(store, environment, client)


def status(store: ObjectStore, environment: str) -> Release | None:
    """What is live in ``environment``, None before its first release."""
    pointer = read_pointer(store, environment).pointer
    return pointer.live if pointer else None


def history(store: ObjectStore, environment: str) -> list[Release]:
    """The releases of ``environment`` that are remembered, the live one first."""
    pointer = read_pointer(store, environment).pointer
    return list(pointer.history) if pointer else []


def generations(store: ObjectStore) -> tuple[list[Manifest], dict[str, str]]:
    """Every complete generation, the one made last first; and why those that cannot be read cannot, by id."""
    found, unreadable = [], {}
    for generation in list_generations(store):
        try:
            found.append(read_manifest(store, generation))
        except (NotFound, Unverified) as error:
            unreadable[generation] = str(error)
    return sorted(found, key=lambda manifest: manifest.created_at, reverse=True), unreadable


def environments(store: ObjectStore) -> list[str]:
    """Those that had a release."""
    return [key.removeprefix("environments/").removesuffix(".json") for key in store.list("environments")]


def prune(store: ObjectStore, keep: int = KEEP) -> list[str]:
    """Remove generations that nobody can need, with the segments only they name; their ids.

    Kept are the ``keep`` latest releases of every environment and the ``keep`` generations made last, and for
    a day what no manifest names: a build may be about to. Nothing is removed while a manifest or a pointer
    cannot be read: it may be of a newer pipeline, and what it needs is not known here. An older generation
    that is promoted or gone back to at the same moment can be lost: leave that to one hand at a time.
    """
    if keep < 1:
        raise BadInput(f"keep is {keep}; at least 1 generation is kept")
    manifests, unreadable = generations(store)
    kept = {manifest.id for manifest in manifests[:keep]}
    for environment in environments(store):
        try:
            kept |= {release.generation for release in history(store, environment)[:keep]}
        except Unverified as error:
            unreadable[environment] = str(error)
    if unreadable:
        log.warning("nothing is pruned: %s", "; ".join(unreadable.values()))
        return []
    removed = [manifest for manifest in manifests if manifest.id not in kept]
    for manifest in removed:
        store.delete(manifest.key)
    named = {segment.key for manifest in manifests if manifest.id in kept for segment in manifest.files}
    theirs = {segment.key for manifest in removed for segment in manifest.files}
    for key in list(store.list("segments")):
        if key not in named and (key in theirs or store.age_s(key) > _ABANDONED_S):
            store.delete(key)
    store.tidy("segments", _ABANDONED_S)
    return [manifest.id for manifest in removed]
