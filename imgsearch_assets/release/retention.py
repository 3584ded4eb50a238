"""How long what is kept is kept: generations until nobody can go back to them, what led to them some days."""

from imgsearch_assets import references
from imgsearch_assets.release.publish import history
from imgsearch_assets.trial.golden import golden_key
from serving.errors import BadInput, Unverified
from serving.index.generation import manifest_key
from serving.index.store import (
    NewerFormat,
    changing,
    environments,
    generations,
    to_go_back_to,
)
from serving.object_store import ObjectStore

_DAY_S = 24 * 3600.0
# No build takes longer from its first segment to its manifest.
_ABANDONED_S = _DAY_S
# What assets handed on is read in their run, and by who goes on with it by hand.
_REFERENCES_S = 7 * _DAY_S


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
        for key, age_s in list(store.ages("segments")):
            if key not in named and age_s > _ABANDONED_S:
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


def forget(store: ObjectStore, keep_days: int) -> int:
    """Remove what led to generations and is old; how many snapshots of the catalogue.

    Of these are kept all that the catalogue was seen with in the last ``keep_days`` days, the last one, and
    each that a generation was made of. Of the values between assets, the latest of each and those of a week.
    """
    removed = 0
    with store.exclusive("snapshots"):  # none is seen again meanwhile
        manifests, unreadable = generations(store)
        if unreadable:  # of which nobody knows what they were made of
            return 0
        needed = {manifest.snapshot for manifest in manifests}
        ages: dict[str, dict[str, float]] = {}
        for key, age_s in store.ages("snapshots"):
            _, snapshot, *file = key.split("/")
            if file:
                ages.setdefault(snapshot, {})[key] = age_s
        needed |= set(sorted(ages, key=lambda snapshot: min(ages[snapshot].values()))[:1])
        for snapshot, files in ages.items():
            if snapshot not in needed and min(files.values()) > keep_days * _DAY_S:
                removed += 1
                for key in files:
                    store.delete(key)
    references.forget(store, _REFERENCES_S)
    return removed
