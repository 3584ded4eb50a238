"""Making a generation live, and going back.

The order is that of a careful hand: read the pointer, verify and load the generation as a replica would,
run the gates, and only then move the pointer, if nobody moved it meanwhile.
"""

import logging
from contextlib import closing, suppress

from imgsearch_assets.gates import run_gates, run_gates_of_deltas
from imgsearch_assets.snapshot import if_readable
from serving.errors import BadInput, NotFound, Unverified
from serving.index.artifact import load, read_deltas
from serving.index.generation import Manifest, manifest_key
from serving.index.store import (
    Pointer,
    PointerAt,
    Release,
    environments,
    list_generations,
    point,
    pointer_key,
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
) -> Pointer:
    """Make a generation live in ``environment``; the pointer as it is then.

    One that is live already is left as it is, unless it was written anew since. Of one that differs from
    what is live by its deltas alone these are loaded and gated, not its base. ``waive`` names gates whose
    verdict does not matter this time (a shop that really drops half its products). Raises ``NotFound``,
    ``Unverified`` (the pointer stays) or ``Conflict`` (another publisher was first).
    """
    seen = read_pointer(store, environment)
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
    return _point(store, environment, manifest, who, why, seen)


def _point(
    store: ObjectStore,
    environment: str,
    manifest: Manifest,
    who: str,
    why: str,
    seen: PointerAt,
    rolled_back_from: str | None = None,
) -> Pointer:
    """As ``store.point``, and what was pruned this moment does not stay live."""
    pointer = point(store, environment, manifest, who, why, seen, rolled_back_from)
    if store.exists(manifest.key):
        return pointer
    if seen.pointer is not None:
        now = read_pointer(store, environment)
        if now.pointer == pointer:
            back = seen.pointer.model_dump_json(indent=1).encode()
            store.compare_and_set(pointer_key(environment), back, now.version)
    raise NotFound(f"generation {manifest.id} was pruned while it was made live in {environment}")


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
    try:
        manifest = read_manifest(store, release.generation, release.manifest_sha256)
    except NotFound:
        raise NotFound(
            f"generation {release.generation} was live in {environment}, and was pruned since; "
            "what is left to go back to is shown by `imgsearch release list`"
        ) from None
    load(store, manifest)
    return _point(store, environment, manifest, who, why, seen, rolled_back_from=left)


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


def generations(store: ObjectStore) -> tuple[list[Manifest], dict[str, str]]:
    """Every complete generation, the one made last first; and why those that cannot be read cannot, by id."""
    found, unreadable = [], {}
    for generation in list_generations(store):
        try:
            found.append(read_manifest(store, generation))
        except (NotFound, Unverified) as error:
            unreadable[generation] = str(error)
    return sorted(found, key=lambda manifest: manifest.created_at, reverse=True), unreadable


def prune(store: ObjectStore, keep: int) -> list[str]:
    """Remove generations that nobody can need, with the segments only they name; their ids.

    Kept are, of every environment, the latest releases until ``keep`` generations are among them that nobody
    rolled back from; and the ``keep`` generations made last. Segments are kept for a day after they were last
    written or taken over: a build may be about to name them. A generation that is made live at the same
    moment stays, or is not made live.

    Raises ``Unverified``, and removes nothing, while a manifest or a pointer cannot be read: it may be of a
    newer pipeline, and what it needs is not known here.
    """
    if keep < 1:
        raise BadInput(f"keep is {keep}; at least 1 generation is kept")
    manifests, unreadable = generations(store)
    released, unknown = _released(store, keep)
    if unreadable | unknown:
        raise Unverified(f"nothing is pruned: {'; '.join((unreadable | unknown).values())}")
    kept = released | {manifest.id for manifest in manifests[:keep]}
    condemned: dict[str, bytes] = {}
    for manifest in manifests:
        if manifest.id not in kept:
            with suppress(NotFound):  # somebody else prunes
                condemned[manifest.id] = store.get(manifest.key)
                store.delete(manifest.key)
    # Whoever makes one live looks for its manifest once more when the pointer has moved; and here for the
    # pointers when the manifests are gone. So one of the two sees the other.
    released, unknown = _released(store, 1)
    for generation, data in list(condemned.items()):
        if generation in released or unknown:
            store.put(manifest_key(generation), data)
            del condemned[generation]
    named = {
        segment.key for manifest in manifests if manifest.id not in condemned for segment in manifest.files
    }
    for key in list(store.list("segments")):
        with suppress(NotFound):
            if key not in named and store.age_s(key) > _ABANDONED_S:
                store.delete(key)
    store.tidy("segments", _ABANDONED_S)
    return list(condemned)


def _released(store: ObjectStore, keep: int) -> tuple[set[str], dict[str, str]]:
    """What every environment may go back to, see ``prune``; and why a pointer cannot be read."""
    found: set[str] = set()
    unreadable = {}
    for environment in environments(store):
        try:
            found |= set(to_go_back_to(history(store, environment), keep))
        except Unverified as error:
            unreadable[environment] = str(error)
    return found, unreadable
