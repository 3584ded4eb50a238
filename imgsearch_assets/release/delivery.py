"""The change that gives production what staging has: an overlay's hashes of images, models and generation.

All stand in one file, the overlay's ``kustomization.yaml``: digests under ``images``, the others as its
annotations. So one reviewed commit holds them, and one rename writes them.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from serving.errors import BadInput, Conflict, NotFound, Unverified
from serving.index.generation import Manifest
from serving.index.store import Pointer, left_by, point, read_manifest, read_pointer
from serving.object_store import ObjectStore

# Its pointer holds what is proposed: a generation that one names is not pruned while the change is reviewed.
PROPOSED = "proposed"
# Deliveries that are remembered: of these one may still be given to production.
REMEMBERED = 20
NOTHING = "sha256:" + "0" * 64

_ANNOTATIONS = {name: f"imgsearch/{name}" for name in ("generation", "embedder", "detector")}

Digest = Annotated[str, Field(pattern="^[^@\\s]+@sha256:[0-9a-f]{64}$")]


class Delivery(BaseModel):
    """What runs in an environment: each image by name, as ``REPOSITORY@sha256:...``, and who put it there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: Mapping[str, Digest] = Field(min_length=1)
    who: str
    why: str


class Deliveries(BaseModel):
    """Those of one environment whose rollout ended well, the latest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    history: tuple[Delivery, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Hashes:
    """What an overlay says: images as ``Delivery``'s, and ids of 16 hexadecimal digits."""

    images: Mapping[str, str]
    generation: str
    embedder: str
    detector: str


class Overlay:
    """The ``kustomization.yaml`` of a folder; its comments and order stay. Raises ``BadInput`` for none."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "kustomization.yaml"
        self._yaml = YAML()
        self._yaml.preserve_quotes = True
        self._yaml.width = 4096
        self._yaml.indent(mapping=2, sequence=4, offset=2)
        try:
            self._text = self.path.read_text()
            self._content: Any = self._yaml.load(self._text)
            self._images = {one["name"]: one for one in self._content["images"]}
            for one in self._images.values():
                one["newName"], one["digest"]
        except (OSError, UnicodeDecodeError, YAMLError, KeyError, TypeError) as error:
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            raise BadInput(
                f"{self.path} is no overlay whose images are named by digest ({why}); name a folder as "
                "k8s/overlays/production"
            ) from None

    def hashes(self) -> Hashes:
        told = (self._content.get("metadata") or {}).get("annotations") or {}
        images = {name: f"{one['newName']}@{one['digest']}" for name, one in self._images.items()}
        return Hashes(images, **{name: str(told.get(key, "")) for name, key in _ANNOTATIONS.items()})

    def write(self, images: Mapping[str, str], manifest: Manifest | None = None) -> bool:
        """Put in what is given, as a whole or not at all; whether that changed anything.

        Images that the overlay does not name are left out. Raises ``BadInput`` when none is one of its own,
        or one is of another repository than the overlay's.
        """
        own = {name: image for name, image in images.items() if name in self._images}
        if not own:
            raise BadInput(f"{self.path} names none of the images {', '.join(sorted(images)) or '(none)'}")
        for name, image in own.items():
            repository, digest = image.split("@")
            if repository != self._images[name]["newName"]:
                raise BadInput(
                    f"{self.path} takes {name} from {self._images[name]['newName']}, not from {repository}; "
                    "set newName there to where the build pushes"
                )
            self._images[name]["digest"] = digest
        for name, one in self._images.items():
            if name not in own:
                _refuse_zeros(f"{self.path}: {name}, which is not among what comes,", f"@{one['digest']}")
        if manifest is not None:
            metadata = self._content.setdefault("metadata", {}).setdefault("annotations", {})
            for name, value in _named(manifest).items():
                metadata[_ANNOTATIONS[name]] = value
        text = StringIO()
        self._yaml.dump(self._content, text)
        if text.getvalue() == self._text:
            return False
        _exchange(self.path, text.getvalue())
        return True


def pushed(folder: Path) -> dict[str, str]:
    """What the build pushed, by name: a file each, ``REPOSITORY@sha256:...``. Raises ``BadInput``."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*")):
        try:
            found |= Delivery(images={path.name: path.read_text().strip()}, who="build", why="build").images
        except (OSError, ValueError):
            raise BadInput(f"{path} is no image as REPOSITORY@sha256:DIGEST; build it again") from None
    if not found:
        raise BadInput(f"there is no image in {folder}; the build writes a file for each that it pushed")
    for name, image in found.items():
        _refuse_zeros(str(folder / name), image)
    return found


def equal(overlay: Overlay, images: Mapping[str, str], whose: str) -> None:
    """Raises ``Unverified`` where an image of ``overlay`` is another than that of ``images``."""
    own = overlay.hashes().images
    if not own.keys() & images.keys():
        raise Unverified(f"{overlay.path} and {whose} have no image in common")
    for name in sorted(own):
        _refuse_zeros(f"{overlay.path}: {name}", own[name])
        if name in images and own[name] != images[name]:
            raise Unverified(f"{overlay.path}: {name} is {own[name]}, but {whose} has {images[name]}")


def delivered(store: ObjectStore, environment: str) -> Deliveries | None:
    """What was rolled out in ``environment``, None before the first. Raises ``Unverified``."""
    key = _key(environment)
    if not store.exists(key):
        return None
    try:
        return Deliveries.model_validate_json(store.get(key))
    except ValidationError:
        raise Unverified(f"{key} is no record of deliveries; remove it and deliver again") from None


def note(store: ObjectStore, environment: str, delivery: Delivery) -> None:
    """Remember that ``delivery`` runs in ``environment``. Raises ``Conflict`` where another came between."""
    version = store.version(_key(environment))
    before = delivered(store, environment) if version is not None else None
    earlier = [one for one in before.history if one.images != delivery.images] if before else []
    history = Deliveries(history=(delivery, *earlier[: REMEMBERED - 1]))
    store.compare_and_set(_key(environment), history.model_dump_json(indent=1).encode(), version)


def propose(
    store: ObjectStore, source: str, overlay: Overlay, who: str, why: str, only: str | None = None
) -> tuple[Manifest, bool]:
    """Write into ``overlay`` what ``source`` has; its generation, and whether that changed anything.

    The generation is held from being pruned, by the pointer ``PROPOSED``, before it is written. Raises
    ``NotFound`` where nothing was released or delivered in ``source``, ``Conflict`` where what is live is on
    trial, or another generation than ``only``, and as ``Overlay.write``.
    """
    staged, deliveries = read_pointer(store, source).pointer, delivered(store, source)
    if staged is None:
        raise NotFound(f"nothing was ever released in {source}")
    if deliveries is None:
        raise NotFound(f"no images were ever delivered to {source}; the workflow of main does that")
    live = staged.live
    if only not in (None, live.generation):
        raise Conflict(f"generation {live.generation} is live in {source}, not {only}; nothing is written")
    _passed(staged, source, live.generation)
    manifest = read_manifest(store, live.generation, live.manifest_sha256)
    for name, image in deliveries.history[0].images.items():
        _refuse_zeros(f"{source}: {name}", image)
    held = read_pointer(store, PROPOSED)
    if held.pointer is None or held.pointer.live.manifest_sha256 != live.manifest_sha256:
        point(store, PROPOSED, manifest, who, why, held, agree=lambda: _still(store, source, live.generation))
    return manifest, overlay.write(deliveries.history[0].images, manifest)


def check(store: ObjectStore, source: str, overlay: Overlay) -> Manifest:
    """Hold the hashes of ``overlay`` to what ran in ``source``; the manifest of its generation.

    Images have to be those of one delivery to ``source``, the generation one that passed there, was proposed,
    and nobody rolled back from, and the models its own. Raises ``Unverified``, ``NotFound`` or ``Conflict``.
    """
    said = overlay.hashes()
    for name, image in said.images.items():
        _refuse_zeros(f"{overlay.path}: {name}", image)
    deliveries = delivered(store, source)
    if deliveries is None:
        raise NotFound(f"no images were ever delivered to {source}")
    if not any(_same(said.images, one.images) for one in deliveries.history):
        equal(overlay, deliveries.history[0].images, f"the latest delivery to {source}")
        raise Unverified(f"{overlay.path} lacks or adds images that {source} has")
    proposed, staged = read_pointer(store, PROPOSED).pointer, read_pointer(store, source).pointer
    if proposed is None or proposed.live.generation != said.generation:
        now = "nothing" if proposed is None else f"generation {proposed.live.generation}"
        raise Conflict(
            f"{overlay.path} names generation {said.generation or '(none)'}, but {now} is proposed; "
            "write the change again with `imgsearch release promote --write`"
        )
    if staged is not None:
        _passed(staged, source, said.generation)
    manifest = read_manifest(store, said.generation, proposed.live.manifest_sha256)
    for name, wanted in _named(manifest).items():
        if getattr(said, name) != wanted:
            raise Unverified(
                f"{overlay.path} names {name} {getattr(said, name) or '(none)'}, but generation "
                f"{manifest.id} is of {wanted}; write the change again"
            )
    return manifest


def _same(own: Mapping[str, str], theirs: Mapping[str, str]) -> bool:
    """Of what both are to have: an overlay also names images that no build of ours makes."""
    shared = own.keys() & theirs.keys()
    return bool(shared) and all(own[name] == theirs[name] for name in shared)


def _passed(staged: Pointer, source: str, generation: str) -> None:
    if staged.live.generation == generation and staged.live.on_trial:
        raise Conflict(f"generation {generation} is on trial in {source} still; propose it when that is over")
    if (left := left_by(staged.history, generation)) is not None:
        raise Conflict(f"{left.who} rolled {source} back from generation {generation}: {left.why}")


def _still(store: ObjectStore, source: str, generation: str) -> None:
    pointer = read_pointer(store, source).pointer
    if pointer is None or pointer.live.generation != generation:
        raise Conflict(f"generation {generation} is live in {source} no longer; propose what is")


def _named(manifest: Manifest) -> dict[str, str]:
    return {"generation": manifest.id, "embedder": manifest.embedder, "detector": manifest.detector}


def _refuse_zeros(where: str, image: str) -> None:
    if image.endswith(NOTHING):
        raise Unverified(f"{where} is all zeros: nothing was released there yet, and no registry has it")


def _exchange(path: Path, text: str) -> None:
    """Raises ``BadInput`` where the folder cannot be written; the file is the old one then."""
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            half = Path(folder) / path.name
            with half.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            half.chmod(path.stat().st_mode)
            half.replace(path)
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}") from None


def _key(environment: str) -> str:
    return f"deliveries/{environment}.json"
