"""Golden queries of a generation, kept beside its manifest: whoever asks them need not load the index."""

from pydantic import TypeAdapter, ValidationError

from imgsearch_assets.trial.smoke import Golden, golden_of
from serving.errors import NotFound, Unverified
from serving.index.artifact import load
from serving.index.generation import Manifest
from serving.object_store import ObjectStore

_JSON = TypeAdapter(list[Golden])


def golden_key(generation: str) -> str:
    return f"generations/{generation}/golden.json"


def keep_golden(store: ObjectStore, manifest: Manifest) -> list[Golden]:
    """Choose them, which loads the generation, and keep them. Raises as ``load``."""
    golden = golden_of(load(store, manifest))
    store.put(golden_key(manifest.id), _JSON.dump_json(golden))
    return golden


def kept_golden(store: ObjectStore, generation: str) -> list[Golden] | None:
    """Those that were kept; None for a generation that nobody asked about through a public API.

    Raises ``Unverified`` when what is kept cannot be read.
    """
    key = golden_key(generation)
    try:
        return _JSON.validate_json(store.get(key))
    except NotFound:
        return None
    except ValidationError:
        raise Unverified(f"{key} holds no golden queries; remove it, and they are chosen anew") from None
