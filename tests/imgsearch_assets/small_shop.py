"""A sample with its picture server, its Redis and an instance of Dagster, so that the whole chain can run."""

import json
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from imgsearch_assets.catalogue.snapshot import live_products
from imgsearch_assets.local.processes import ProcessGroup, answers, free_port
from imgsearch_assets.local.redis_server import redis_command
from imgsearch_assets.local.services import dagster_home
from imgsearch_assets.sample.catalogue import Sample, generate_sample
from serving.cache.features import url_key
from serving.object_store import LocalObjectStore


@dataclass
class Shop:
    """A sample with its servers, and the instance that records the runs."""

    sample: Sample
    home: Path
    redis_url: str
    instance: dg.DagsterInstance

    @property
    def store(self) -> LocalObjectStore:
        return LocalObjectStore(self.home / "objects")

    def metadata(self, asset: str) -> dict[str, Any]:
        event = self.instance.get_latest_materialization_event(dg.AssetKey(asset))
        assert event is not None
        assert event.asset_materialization is not None
        return {name: value.value for name, value in event.asset_materialization.metadata.items()}

    def data_version(self, asset: str) -> str:
        event = self.instance.get_latest_materialization_event(dg.AssetKey(asset))
        assert event is not None
        assert event.asset_materialization is not None
        return str((event.asset_materialization.tags or {})["dagster/data_version"])

    def feature_keys(self, embedder: str) -> list[str]:
        """Where the features of every picture that is live should lie."""
        live = live_products(self.store, "local")
        assert live is not None
        return [url_key(embedder, url) for urls in live["image_urls"].to_pylist() for url in urls]

    def served(self) -> Counter[str]:
        """Requests by path."""
        with urllib.request.urlopen(f"{self.sample.base_url}/_stats") as reply:  # noqa: S310
            return Counter(json.load(reply)["paths"])


@contextmanager
def small_shop(home: Path, products: int) -> Iterator[Shop]:
    """In this process's environment."""
    pictures, redis_port = free_port(), free_port()
    sample = generate_sample(home / "sample", products, 7, pictures)
    environment = {
        "IMGSEARCH_HOME": str(home),
        "IMGSEARCH_CATALOGUE": str(sample.catalogue),
        "IMGSEARCH_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        "IMGSEARCH_FETCH_ALLOW_HOSTS": json.dumps([f"127.0.0.1:{pictures}"]),
    }
    with pytest.MonkeyPatch.context() as patch, ProcessGroup(home / "logs", {}) as group:
        patch.delenv("DAGSTER_HOME", raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setenv("DAGSTER_HOME", str(dagster_home(home)))
        group.start("redis", redis_command(redis_port))
        server = "imgsearch_assets.sample.server"
        group.start(
            "pictures",
            [sys.executable, "-m", server, "--folder", str(sample.folder), "--port", str(pictures)],
        )
        group.wait_ready("redis", answers(redis_port), 30)
        group.wait_ready("pictures", answers(pictures), 60)
        with dg.DagsterInstance.get() as instance:
            yield Shop(sample, home, environment["IMGSEARCH_REDIS_URL"], instance)
