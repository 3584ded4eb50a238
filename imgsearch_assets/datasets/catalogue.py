"""The pictures of an installation: those of the products that are live, as they were fetched."""

from pathlib import Path

from imgsearch_assets.catalogue.snapshot import live_manifest, pictures_of, products_key, urls_of
from imgsearch_assets.datasets.dataset import Dataset, Labelled
from imgsearch_assets.images.store import fetch_table, picture_key
from imgsearch_assets.local.installation import objects_of
from imgsearch_assets.tables import read_parquet
from serving.errors import BadInput, NotFound
from serving.index import artifact
from serving.index.generation import Manifest
from serving.index.loaded import Generation
from serving.object_store import ObjectStore


def load(home: Path, environment: str = "local") -> Dataset:
    """Every picture of the products that are live in the installation ``home``, several to a product.

    Raises ``BadInput`` when nothing was ever released there.
    """
    store = objects_of(home)
    return pictures_in(store, environment)


def live_generation(home: Path, environment: str = "local") -> Generation:
    """The index that is live there, loaded. Raises as ``load``, and as ``serving.index.artifact.load``."""
    store = objects_of(home)
    return artifact.load(store, _live(store, environment))


def _live(store: ObjectStore, environment: str) -> Manifest:
    manifest = live_manifest(store, environment)
    if manifest is None:
        raise BadInput(f"nothing was ever released in {environment}; run the pipeline first")
    return manifest


def pictures_in(store: ObjectStore, environment: str = "local") -> Dataset:
    """The same of an object store."""
    manifest = _live(store, environment)
    products = read_parquet(store, products_key(manifest.snapshot))
    rows = pictures_of(urls_of(products), fetch_table(store).read()).to_pylist()
    pictures, missing = [], 0
    for row in rows:
        try:
            path = store.local_path(picture_key(row["sha256"]))
        except NotFound:
            missing += 1
            continue
        pictures.append(Labelled(path, row["product_id"], row["category"] or ""))
    # A product with the same picture twice has it once.
    once = tuple(dict.fromkeys(pictures))
    return Dataset(
        f"catalogue {manifest.snapshot}", store.files, once, {"missing": missing} if missing else {}
    )
