"""A shop's history, made stage by stage in a store: what runs of the pipeline leave there, without them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imgsearch_assets.catalogue.contract import PRODUCTS
from imgsearch_assets.catalogue.snapshot import take_snapshot
from imgsearch_assets.catalogue.warehouse import FileWarehouse
from imgsearch_assets.features.tables import detections_table, embeddings_schema, embeddings_table, texts
from imgsearch_assets.images.store import Fetch, fetch_rows, fetch_table
from imgsearch_assets.index.duplicates import Alike
from imgsearch_assets.index.increment import Models, Wanted, build
from imgsearch_assets.ledger.notes import note_releases, note_sightings
from imgsearch_assets.release.publish import rollback
from serving.images.box import Box
from serving.index.generation import Manifest
from serving.index.store import Release, point, read_manifest, read_pointer
from serving.ledger.explained import explain
from serving.ledger.journey import Journey
from serving.object_store import LocalObjectStore

DIM = 8
MODELS = Models("embedder-1", "pre-1", "detector-1")
BOX = Box.whole().key


def url(name: str, shot: int = 0) -> str:
    return f"http://shop.example/{name}-{shot}.jpg"


class History:
    """A catalogue of products, and what was made of it so far; ``local`` is where it is released."""

    def __init__(self, folder: Path) -> None:
        self.store = LocalObjectStore(folder / "objects")
        self._catalogue = folder / "catalogue.parquet"
        self.rows: dict[str, dict[str, Any]] = {}
        self.snapshot = ""
        self.seen_at = datetime.now(UTC) - timedelta(hours=1)

    def sells(self, *names: str, **changes: Any) -> None:
        """Products that are in the catalogue from now on, or changed."""
        for name in names:
            row = {
                **dict.fromkeys(PRODUCTS.names, ""),
                "product_id": name,
                "name": f"garment {name}",
                "category": "dress",
                "price": 100,
                "currency": "EUR",
                "in_stock": True,
                "image_urls": [url(name)],
                "updated_at": datetime(2026, 1, 1, tzinfo=UTC),
            }
            self.rows[name] = row | self.rows.get(name, {}) | changes

    def sees(self, run: str = "run-1") -> pa.Table:
        """Take a snapshot and note what is new in it; a minute passes."""
        rows = pa.Table.from_pylist(list(self.rows.values()), schema=PRODUCTS)
        pq.write_table(rows, self._catalogue)
        self.snapshot, _ = take_snapshot(self.store, FileWarehouse(str(self._catalogue)))
        self.seen_at += timedelta(minutes=1)
        return note_sightings(self.store, self.snapshot, self.seen_at, run, "local")

    def fetches(self, *urls: str, **failure: Any) -> None:
        """Pictures that come; or ``reason``, ``http_status`` and ``retry_after`` of why not."""
        ok = Fetch(
            "", "ok", None, 200, None, 9, 64, 64, None, None, self.seen_at + timedelta(seconds=10), 1, None
        )
        if failure:
            ok = replace(ok, status="failed", **failure)
        named = [replace(ok, url=one, sha256=None if failure else sha_of(one)) for one in urls]
        fetch_table(self.store).append(fetch_rows(named))

    def detects(self, *urls: str, reason: str | None = None) -> None:
        rows = [
            {
                "sha256": sha_of(one),
                "status": "failed" if reason else "ok",
                "reason": reason,
                "boxes": None if reason else [BOX],
            }
            for one in urls
        ]
        table = detections_table(self.store, MODELS.detector)
        table.append(pa.Table.from_pylist(rows, schema=table.schema))

    def embeds(self, *urls: str) -> None:
        table = embeddings_table(self.store, MODELS.embedder, DIM)
        rows = [
            {"sha256": sha_of(one), "box": BOX, "status": "ok", "vector": vector_of(one).astype(np.float16)}
            for one in urls
        ]
        table.append(pa.Table.from_pylist(rows, schema=embeddings_schema(DIM)))

    def builds(self) -> Manifest:
        """A generation of what is embedded, of the newest snapshot."""
        vectors = embeddings_table(self.store, MODELS.embedder, DIM).read(["sha256"])
        embedded = set(texts(vectors, "sha256"))
        items = [
            {"product_id": name, "image_url": one, "sha256": sha_of(one), "box": BOX}
            for name, row in self.rows.items()
            for one in row["image_urls"]
            if sha_of(one) in embedded
        ]
        there = {item["product_id"] for item in items}
        wanted = Wanted(
            pa.Table.from_pylist([self.rows[name] for name in sorted(there)], schema=PRODUCTS),
            pa.Table.from_pylist(items),
            np.stack([vector_of(item["image_url"]) for item in items]),
            MODELS,
            self.snapshot,
        )
        return build(self.store, "local", wanted, Alike()).manifest

    def releases(self, manifest: Manifest, environment: str = "local") -> Release:
        seen = read_pointer(self.store, environment)
        return point(self.store, environment, manifest, "dagster", f"snapshot {self.snapshot}", seen).live

    def notes(self, environment: str = "local") -> Mapping[str, str]:
        """What the ledger wrote of the releases: product to change."""
        rows = note_releases(self.store, environment).to_pylist()
        return {row["product_id"]: row["change"] for row in rows}

    def rolls_back(self) -> None:
        rollback(self.store, "local", "Ada", "wrong colours")

    def runs(self, run: str = "run-1") -> Manifest:
        """All of it, with every picture coming."""
        self.sees(run)
        urls = self.urls()
        self.fetches(*urls)
        self.detects(*urls)
        self.embeds(*urls)
        manifest = self.builds()
        self.releases(manifest)
        self.notes()
        return manifest

    def urls(self) -> list[str]:
        return [one for row in self.rows.values() for one in row["image_urls"]]

    def explain(self, name: str, environment: str = "local", **options: Any) -> Journey:
        return explain(self.store, environment, name, **options)

    def live(self) -> Manifest:
        pointer = read_pointer(self.store, "local").pointer
        assert pointer is not None
        return read_manifest(self.store, pointer.live.generation)


def sha_of(one: str) -> str:
    return f"{int.from_bytes(one.encode()) % 2**250:064x}"


def vector_of(one: str) -> Any:
    vector = np.random.default_rng(list(one.encode())).normal(size=DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)


def names_of(count: int) -> Iterable[str]:
    return [f"p{number:03d}" for number in range(count)]
