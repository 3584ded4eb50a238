"""Which model is measured: a stored version, the live one, the shipped one, or a folder with a bundle."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from imgsearch_assets.local.installation import objects_of
from imgsearch_assets.models.shipped import register_detector, register_embedder
from serving.errors import BadInput
from serving.models import detector, embedder
from serving.models.bundle import Bundle, load_bundle
from serving.models.card import Card
from serving.object_store import LocalObjectStore, ObjectStore

LIVE, SHIPPED = "live", "shipped"
_REGISTER: dict[str, Callable[[ObjectStore], Bundle]] = {
    detector.NAME: register_detector,
    embedder.NAME: register_embedder,
}


def candidate(name: str, which: str | None, home: Path | None) -> Bundle:
    """The model ``name`` (detector or embedder): ``which`` is a version, ``live``, ``shipped`` or a folder.

    None is the live one of the installation ``home``, or the shipped one where there is no installation.
    Raises ``BadInput`` when a version is asked for without an installation, and as ``load_bundle``.
    """
    which = which or (SHIPPED if home is None else LIVE)
    if which == SHIPPED:
        with TemporaryDirectory(prefix="imgsearch-") as folder:
            return _REGISTER[name](LocalObjectStore(Path(folder)))
    if (Path(which) / "bundle.json").is_file():
        return _unpacked(name, Path(which))
    if home is None:
        raise BadInput(
            f"{name} {which!r} is no folder with a bundle.json; to measure a stored version say --home too"
        )
    return load_bundle(objects_of(home), name, None if which == LIVE else which)


def bring(store: ObjectStore, name: str, folder: Path) -> Bundle:
    """The bundle whose files lie in ``folder``, checked, as a candidate of ``store``; not live by that."""
    bundle = _unpacked(name, folder)
    _copy(folder, store, f"models/{name}/{bundle.version}")
    return bundle


def learned_from(card: Card, dataset_version: str) -> bool:
    """Whether a model learned from these very pictures, so that its figures on them promise nothing."""
    return dataset_version in (card.dataset, card.training.get("dataset"))


def _unpacked(name: str, folder: Path) -> Bundle:
    """The bundle whose files lie in ``folder``, checked as one of a store."""
    version = hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()[:16]
    with TemporaryDirectory(prefix="imgsearch-") as copy:
        store = LocalObjectStore(Path(copy))
        _copy(folder, store, f"models/{name}/{version}")
        return load_bundle(store, name, version)


def _copy(folder: Path, store: ObjectStore, prefix: str) -> None:
    """The card comes last: a bundle is there when its card is."""
    for file in sorted(folder.iterdir(), key=lambda file: file.name == "bundle.json"):
        if file.is_file():
            store.put(f"{prefix}/{file.name}", file.read_bytes())
