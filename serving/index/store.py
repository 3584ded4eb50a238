"""Manifests and pointers in the object store, and whether the files that they name are whole.

A pointer, ``environments/<environment>.json``, is the only object that moves: it names the live generation,
the hash of its manifest and what was live before. It moves by compare-and-set, so of two publishers one
wins and the other learns it. Whatever adds a manifest, removes one or makes one live does so in
``changing``: what is named is there, at every moment, whoever is killed.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.errors import BadInput, Conflict, NotFound, Unverified
from serving.index.generation import FORMAT, Manifest, Segment, manifest_key
from serving.object_store import ObjectStore

# Releases a pointer remembers: what `release status` shows and a roll-back can go back to.
REMEMBERED = 20

# Between two releases, at least.
_APART_S = 0.001

_ENVIRONMENT = re.compile(r"[a-z][a-z0-9-]{0,62}")


class NewerFormat(Unverified):
    """Written by a newer pipeline: what it is and needs is not known here."""


class Release(BaseModel):
    """A generation made live: which, by whom, why, when (seconds since 1970)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    generation: str
    manifest_sha256: str
    who: str
    why: str
    at: float
    # The generation that this roll-back left; not one that the next roll-back should return to.
    rolled_back_from: str | None = None
    # Until it is known that it is served well; whoever finds that it is not may take it back by itself.
    # Written only where it is: services of before know no such mark.
    on_trial: bool = Field(default=False, exclude_if=lambda on_trial: not on_trial)


class Pointer(BaseModel):
    """What is live in an environment, and what was before, the latest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    live: Release
    earlier: tuple[Release, ...] = ()

    @property
    def previous(self) -> Release | None:
        """The release before the live one, None for the first."""
        return self.earlier[0] if self.earlier else None

    @property
    def history(self) -> tuple[Release, ...]:
        return (self.live, *self.earlier)


class PointerAt(BaseModel):
    """A pointer with the version that a compare-and-set has to name; both None before the first release."""

    model_config = ConfigDict(frozen=True)

    pointer: Pointer | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the newest generation is not served; ``generation`` is empty when the pointer could not be read."""

    generation: str
    reason: str


def pointer_key(environment: str) -> str:
    """Raises ``BadInput`` when that is no name of an environment."""
    if not _ENVIRONMENT.fullmatch(environment):
        raise BadInput(
            f"{environment!r} is no name of an environment: small letters, digits and dashes, as in staging"
        )
    return f"environments/{environment}.json"


def environments(store: ObjectStore) -> list[str]:
    """Those that had a release."""
    return [key.removeprefix("environments/").removesuffix(".json") for key in store.list("environments")]


def to_go_back_to(releases: Sequence[Release], keep: int) -> list[str]:
    """The generations that were released last, until ``keep`` are among them that nobody rolled back from."""
    bad = {release.rolled_back_from for release in releases}
    found: list[str] = []
    for generation in dict.fromkeys(release.generation for release in releases):
        found.append(generation)
        if len(set(found) - bad) == keep:
            break
    return found


def left_by(releases: Sequence[Release], generation: str) -> Release | None:
    """The roll-back by which ``generation`` was left last; None where it was made live again since.

    ``releases`` are those of one environment, the latest first.
    """
    for release in releases:
        if release.generation == generation:
            return None
        if release.rolled_back_from == generation:
            return release
    return None


def changing(store: ObjectStore) -> AbstractContextManager[None]:
    """Around a change of which generations there are, or are live; short, for all others wait."""
    return store.exclusive("generations")


def read_pointer(store: ObjectStore, environment: str) -> PointerAt:
    """What is live in ``environment``. Raises ``Unverified`` when the pointer is not one."""
    key = pointer_key(environment)
    version = store.version(key)
    if version is None:
        return PointerAt()
    try:
        pointer = Pointer.model_validate_json(store.get(key))
    except ValidationError as error:
        raise Unverified(
            f"{key} is no pointer: {_first(error)}; put back what it was, or remove it and release again"
        ) from None
    return PointerAt(pointer=pointer, version=version)


def point(
    store: ObjectStore,
    environment: str,
    manifest: Manifest,
    who: str,
    why: str,
    seen: PointerAt,
    rolled_back_from: str | None = None,
    on_trial: bool = False,
    agree: Callable[[], object] = lambda: None,
) -> Pointer:
    """Make ``manifest`` live if ``seen`` is still the state of ``environment``; the new pointer.

    Verifies nothing: ``imgsearch_assets.release.publish`` does. ``agree`` is called while no pointer of any
    environment can be moved; nothing is made live when it raises. Raises ``NotFound`` when it was pruned,
    ``Conflict`` when another publisher was first.
    """
    if not who.strip() or not why.strip():
        raise BadInput("a release says who makes it and why")
    earlier = seen.pointer.history if seen.pointer else ()
    with changing(store):
        agree()
        release = Release(
            generation=manifest.id,
            manifest_sha256=manifest_sha256(store, manifest.id),
            who=who,
            why=why,
            # A clock that went back makes none earlier than the one before: the ledger goes by it.
            at=max(time.time(), earlier[0].at + _APART_S if earlier else 0.0),
            rolled_back_from=rolled_back_from,
            on_trial=on_trial,
        )
        pointer = Pointer(live=release, earlier=earlier[: REMEMBERED - 1])
        data = pointer.model_dump_json(indent=1).encode()
        store.compare_and_set(pointer_key(environment), data, seen.version)
    return pointer


def end_trial(store: ObjectStore, environment: str, release: Release) -> Pointer:
    """Note that ``release``, which is live, is served well; the new pointer.

    Raises ``Conflict`` when another one is live by now.
    """
    seen = read_pointer(store, environment)
    if seen.pointer is None or seen.pointer.live != release:
        raise Conflict(f"the pointer of {environment} was moved by another publisher")
    live = release.model_copy(update={"on_trial": False})
    pointer = seen.pointer.model_copy(update={"live": live})
    store.compare_and_set(pointer_key(environment), pointer.model_dump_json(indent=1).encode(), seen.version)
    return pointer


def manifest_sha256(store: ObjectStore, generation: str) -> str:
    """Hash of a manifest's bytes. Raises ``NotFound``."""
    return hashlib.sha256(_manifest_bytes(store, generation)).hexdigest()


def read_manifest(store: ObjectStore, generation: str, sha256: str | None = None) -> Manifest:
    """The manifest of a generation, held to ``sha256`` when that is known.

    Raises ``NotFound``, and ``Unverified`` when it is not the one meant or no manifest at all.
    """
    data = _manifest_bytes(store, generation)
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise Unverified(
            f"the manifest of generation {generation} is not the one that was released; release it again, "
            "or roll back"
        )
    _check_format(generation, data)
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise Unverified(f"the manifest of generation {generation} cannot be used: {_first(error)}") from None
    if manifest.id != generation:
        raise Unverified(f"the manifest of generation {generation} is that of {manifest.id}")
    return manifest


def _check_format(generation: str, data: bytes) -> None:
    """By itself: what else a newer format holds is not known here."""
    try:
        found = json.loads(data).get("format")
    except (ValueError, AttributeError, RecursionError):
        return  # no manifest at all, which is said of it elsewhere
    if isinstance(found, int) and found > FORMAT:
        raise NewerFormat(
            f"generation {generation} is of format {found}, newer than format {FORMAT} that is read here; "
            "upgrade what reads it, or roll back to an earlier generation"
        )


def list_generations(store: ObjectStore) -> Iterator[str]:
    """The id of every complete generation, in order."""
    return (key.split("/")[1] for key in store.list("generations") if key.endswith("/manifest.json"))


def generations(store: ObjectStore) -> tuple[list[Manifest], dict[str, Unverified]]:
    """Every complete generation, the one made last first; and why those that cannot be read cannot, by id."""
    found, unreadable = [], {}
    for generation in list_generations(store):
        try:
            found.append(read_manifest(store, generation))
        except NotFound:
            continue  # removed this moment
        except Unverified as error:
            unreadable[generation] = error
    return sorted(found, key=lambda manifest: manifest.created_at, reverse=True), unreadable


def verify(store: ObjectStore, segment: Segment) -> None:
    """Hold a file to its size and hash. Raises ``NotFound`` or ``Unverified``."""
    check_size(store, segment)
    try:
        with store.local_path(segment.key).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:  # removed this moment
        raise NotFound(f"there is no object {segment.key}") from None
    if found != segment.sha256:
        store.forget_file(segment.key)
        raise Unverified(f"{segment.key} does not have the hash that its name says")


def check_size(store: ObjectStore, segment: Segment) -> None:
    """Raises ``NotFound`` or ``Unverified``."""
    size = store.size(segment.key)
    if size != segment.size_bytes:
        raise Unverified(f"{segment.key} has {size} bytes, not {segment.size_bytes}")


def _manifest_bytes(store: ObjectStore, generation: str) -> bytes:
    try:
        return store.get(manifest_key(generation))
    except NotFound:
        raise NotFound(f"there is no generation {generation}") from None


def _first(error: ValidationError) -> str:
    found = error.errors()[0]
    where = ".".join(str(part) for part in found["loc"])
    return f"{where}: {found['msg']}" if where else str(found["msg"])
