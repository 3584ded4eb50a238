"""Whether what serves sees what the pipeline saw: vectors of a generation, made again as the service does it.

The gate runs the embed service's own code on the stored bytes of some pictures, with a model loaded anew from
the store. It asks no running service: a release then depends on none, and passes the same gate where there is
no network. That the wire and the HTTP front add nothing is a test, ``tests/e2e/test_switch.py``.
"""

from itertools import groupby

import numpy as np

from imgsearch_assets.gates.generation import Gate
from imgsearch_assets.images.store import picture_key
from serving.errors import BadImage
from serving.images.box import Box
from serving.index.loaded import Generation
from serving.index.part import rows_in
from serving.models import embedder
from serving.models.bundle import load_bundle
from serving.models.embedder import Embedder
from serving.object_store import ObjectStore
from serving.services.embed import crop_pixels
from serving.settings import Settings

# Rounding to float16, other batches and another engine leave 0.99999 and more; another crop, another filter
# or another order of colours leaves far less than this.
MIN_COSINE = 0.999

_ROWS = 24


def parity(store: ObjectStore, generation: Generation, settings: Settings, rows: int = _ROWS) -> Gate:
    """The least cosine between ``rows`` rows of the generation and the same boxes embedded anew.

    A picture that cannot be opened any more counts as a cosine of -1. Raises ``NotFound`` when the model or a
    picture is gone, and ``Unverified``.
    """
    model = Embedder(load_bundle(store, embedder.NAME, generation.manifest.embedder))
    present = rows_in(*generation.spans(generation.present()))
    places = present[np.unique(np.linspace(0, len(present) - 1, rows).astype(int))].tolist()
    items = generation.items.select(["sha256", "box"]).take(places).to_pylist()
    chosen = sorted((item["sha256"], item["box"], place) for item, place in zip(items, places, strict=True))
    least, worst = 1.0, ""
    for sha, group in groupby(chosen, key=lambda row: row[0]):
        picture = list(group)
        boxes = [Box.from_key(box) for _, box, _ in picture]
        kept = generation.vectors_of(np.array([place for *_, place in picture]))
        kept /= np.linalg.norm(kept, axis=1, keepdims=True)
        try:
            again = model.of_pixels(crop_pixels(model, [store.get(picture_key(sha))], 0, boxes, settings))
        except BadImage:
            cosine = -1.0
        else:
            cosine = float(np.nan_to_num((again * kept).sum(1), nan=-1.0).min())
        if cosine < least:
            least, worst = cosine, sha
    return Gate(
        "parity",
        least >= MIN_COSINE,
        least,
        MIN_COSINE,
        f"{len(places)} vectors made again as the service makes them have a cosine of {least:.5f} at least, "
        f"{MIN_COSINE} wanted" + (f"; least alike on picture {worst[:16]}" if least < MIN_COSINE else ""),
    )
