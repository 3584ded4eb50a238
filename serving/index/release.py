"""Moving an environment's pointer by hand: back, or on to what passed its gates elsewhere.

What was live anywhere has passed the gates. Others are released by ``imgsearch_assets.release``, which has
them.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

from serving.errors import BadInput, Conflict, NotFound, Unverified
from serving.index.generation import Manifest
from serving.index.store import (
    Pointer,
    Release,
    environments,
    left_by,
    point,
    read_manifest,
    read_pointer,
    verify,
)
from serving.object_store import ObjectStore

log = logging.getLogger(__name__)


def rollback(
    store: ObjectStore,
    environment: str,
    who: str,
    why: str,
    to: str | None,
    check: Callable[[Manifest], object],
    leaving: Release | None = None,
) -> Pointer:
    """Make an earlier generation live again: the latest whole one that nobody rolled back from, or ``to``.

    Past no gate: it was live; but what ``check`` raises keeps it from being so again. Raises ``NotFound``
    when there is none to go back to, ``Unverified`` or ``Conflict``, this also where another release than
    ``leaving`` is live.
    """
    seen = read_pointer(store, environment)
    if seen.pointer is None:
        raise NotFound(f"nothing was ever released in {environment}")
    left = seen.pointer.live.generation
    if leaving is not None and seen.pointer.live != leaving:
        raise Conflict(f"another publisher made generation {left} live in {environment} meanwhile")
    bad = {left, *(release.rolled_back_from for release in seen.pointer.history)}
    earlier = dict.fromkeys(release.generation for release in seen.pointer.earlier)
    candidates = [name for name in earlier if name == to or (to is None and name not in bad)]
    for generation in candidates:
        try:
            # Of the same content, though it may have been written anew since.
            manifest = read_manifest(store, generation)
            check(manifest)
            return point(store, environment, manifest, who, why, seen, rolled_back_from=left)
        except (NotFound, Unverified) as error:
            sentence = (
                f"generation {generation} cannot be gone back to: {error}; "
                "`imgsearch release list` shows what there is"
            )
            if generation == candidates[-1]:
                raise type(error)(sentence) from None
            log.warning(sentence)
    raise NotFound(
        f"generation {to} was not live in {environment} before"
        if to
        else f"there is no earlier generation in {environment} to go back to"
    )


def promote(store: ObjectStore, environment: str, generation: str, who: str, why: str) -> Pointer:
    """Make a generation live that was live here or in another environment, its files verified before.

    One that is live already is left as it is. Raises ``BadInput`` for one that passed no gates, ``NotFound``,
    ``Unverified`` or ``Conflict``, this also for one that another environment rolled back from.
    """
    seen = read_pointer(store, environment)
    manifest = read_manifest(store, generation)
    if seen.pointer is not None and seen.pointer.live.generation == generation:
        return seen.pointer
    elsewhere = _elsewhere(store, environment)
    here = seen.pointer.history if seen.pointer is not None else ()
    if generation not in {
        release.generation for history in (here, *elsewhere.values()) for release in history
    }:
        raise BadInput(
            f"generation {generation} was never live, so it passed no gates; the pipeline releases it"
        )
    _refuse_left(elsewhere, generation)
    verify_files(store, manifest)

    def agree() -> None:
        _refuse_left(_elsewhere(store, environment), generation)

    return point(store, environment, manifest, who, why, seen, agree=agree)


def verify_files(store: ObjectStore, manifest: Manifest) -> None:
    """Hold every file of a generation to its hash. Raises ``NotFound`` or ``Unverified``."""
    for segment in manifest.files:
        verify(store, segment)


def _elsewhere(store: ObjectStore, environment: str) -> dict[str, tuple[Release, ...]]:
    """The releases that every other environment remembers, by its name; none of one that cannot be read."""
    found: dict[str, tuple[Release, ...]] = {}
    for other in environments(store):
        if other == environment:
            continue
        try:
            pointer = read_pointer(store, other).pointer
        except Unverified as error:
            log.warning("%s", error)
            continue
        if pointer is not None:
            found[other] = pointer.history
    return found


def _refuse_left(elsewhere: Mapping[str, Sequence[Release]], generation: str) -> None:
    """Raises ``Conflict`` for one that was rolled back from, and is not live there again since."""
    for environment, history in elsewhere.items():
        if (left := left_by(history, generation)) is not None:
            raise Conflict(
                f"{left.who} rolled {environment} back from generation {generation}: {left.why}; promote "
                f"{history[0].generation}, which is live there, or release {generation} there again first"
            )
