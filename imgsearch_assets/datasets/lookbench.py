"""LookBench as its Parquet files lie on disk (arXiv:2601.14706; files ``v20251201``).

    <version>/<subset>/query.parquet      real_studio_flat, aigen_studio, real_streetlook, aigen_streetlook
    <version>/<subset>/gallery.parquet
    <version>/noise/*.parquet             distractors, part of every gallery; may be left out

Columns are ``image`` (a struct with ``bytes``, or bytes), ``item_ID`` and ``category``; others are not read.
The columns were learned from the readers of others, not from the files themselves, which cannot be had here:
whether a query of several items carries boxes is unknown, and the whole picture counts. Given one subset's
folder, that subset with the distractors beside it is loaded, as the benchmark measures; given the version's
folder, all subsets with one gallery. Recall here asks for the very ``item_ID``; the paper's "fine recall"
asks for the same category and main attribute, and is more lenient.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from imgsearch_assets.datasets.collection import Collection
from imgsearch_assets.datasets.dataset import Dataset, Kind, Role
from imgsearch_assets.sample.drawing import write_whole
from serving.errors import BadInput

_LAYOUT = (
    "LookBench: <subset>/query.parquet and <subset>/gallery.parquet with columns image, item_ID and "
    "category, and noise/*.parquet beside the subsets"
)
_COLUMNS = ["image", "item_ID", "category"]
_ROWS = 256  # read at once
_NAMES = (str, int)
_LABELS = (str, int, type(None))


def load(root: Path, folder: Path) -> Dataset:
    """The subset, or all subsets, below ``root``; pictures are unpacked below ``folder``.

    Raises ``BadInput`` when a file or a column is missing.
    """
    root = root.resolve()
    alone = (root / "query.parquet").exists()
    subsets = [root] if alone else sorted(file.parent for file in root.glob("*/query.parquet"))
    if not subsets:
        raise BadInput(f"{root / 'query.parquet'} is not there; expected is {_LAYOUT}")
    name = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    found = Collection("lookbench", folder.resolve() / f"lookbench-{name}")
    for subset in subsets:
        kind: Kind = "street" if "street" in subset.name else "shop"
        if not (subset / "gallery.parquet").exists():
            raise BadInput(f"{subset / 'gallery.parquet'} is not there; expected is {_LAYOUT}")
        _add(found, subset / "query.parquet", kind, "query")
        _add(found, subset / "gallery.parquet", "shop", "gallery")
    noise = (root.parent if alone else root) / "noise"
    for file in sorted(noise.glob("*.parquet")):
        _add(found, file, "shop", "gallery", prefix="noise ")
    return found.dataset()


def _add(found: Collection, file: Path, kind: Kind, role: Role, prefix: str = "") -> None:
    into = found.root / file.parent.name / file.stem
    into.mkdir(parents=True, exist_ok=True)
    for row in _rows(file):
        image = row["image"]
        data = image.get("bytes") if isinstance(image, dict) else image
        item, category = row["item_ID"], row["category"]
        if not isinstance(data, bytes) or not isinstance(item, _NAMES) or not isinstance(category, _LABELS):
            found.skip("malformed")
            continue
        path = into / f"{hashlib.sha256(data).hexdigest()[:24]}.picture"
        if not path.exists():
            write_whole(path, data)
        found.add(path, f"{prefix}{item}", "" if category is None else str(category), kind, role)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(file) as table:
            lacking = [name for name in _COLUMNS if name not in table.schema_arrow.names]
            if lacking:
                raise BadInput(f"{file} has no column {', '.join(lacking)}; expected is {_LAYOUT}")
            for batch in table.iter_batches(_ROWS, columns=_COLUMNS):
                yield from batch.to_pylist()
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise BadInput(f"{file} is not a Parquet file; expected is {_LAYOUT}") from error
