"""A probe asks what a shopper would, of a search service and a front that are processes of their own."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest

from imgsearch_assets.environment import Environment, read_environment
from imgsearch_assets.features.rows import fill_feature_store
from imgsearch_assets.local.installation import python_module
from imgsearch_assets.local.processes import ProcessGroup, free_port
from imgsearch_assets.release.publish import publish
from imgsearch_assets.release.retention import prune
from imgsearch_assets.release.rollout import release
from imgsearch_assets.settings import PipelineSettings
from imgsearch_assets.trial.golden import golden_key, kept_golden
from imgsearch_assets.trial.probe import Probe, ProbeMetrics
from imgsearch_assets.trial.smoke import golden_of
from serving.cache.features import FeatureStore
from serving.errors import BadSettings, Unavailable, Unverified
from serving.index.artifact import load
from serving.index.store import read_manifest
from serving.object_store import LocalObjectStore
from serving.telemetry import show
from tests.conftest import Shop
from tests.redis_process import RedisProcess

START_S = 90.0


@dataclass
class Site:
    """One search service and a front, which serve the generation that was released into ``local``."""

    home: Path
    shop: Shop
    redis: str
    search: str
    api: str
    built: int = 0

    def release(self) -> str:
        """Another generation, its golden queries asked and kept; its id."""
        self.built += 1
        shop = self.shop
        shop.vectors = np.roll(shop.vectors, 1, axis=1)
        manifest = shop.build(f"s{self.built}")
        fill_feature_store(FeatureStore(self.redis, 5.0), shop.embedder, shop.items, shop.vectors)
        told = {"staging_search_address": self.search, "staging_api_url": self.api}
        environment = Environment(PipelineSettings.model_validate(told), read_environment().serving)
        release(shop.store, environment, "local", manifest.id, "test", "why")
        return manifest.id

    def probe(self, url: str | None = None, deadline_s: float = 10.0) -> Probe:
        return Probe(self.shop.store, "local", url or self.api, None, deadline_s)

    def command(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*python_module("imgsearch_assets.cli", "probe", "--home", str(self.home)), *options],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home, redis, port = tmp_path_factory.mktemp("home"), RedisProcess(), free_port()
    told = {
        "IMGSEARCH_HOME": str(home),
        "IMGSEARCH_POLL_INTERVAL_S": "0.1",
        "IMGSEARCH_REDIS_URL": redis.url,
        "IMGSEARCH_REDIS_TIMEOUT_S": "1",
    }
    try:
        with ProcessGroup(home / "logs", told) as group:
            shop = Shop(home / "objects")
            group.start("search", python_module("serving", "search", "--port", "0"))
            search = group.wait_address("search", START_S)
            api = python_module("serving", "api", "--port", str(port))
            group.start("api", api, IMGSEARCH_SEARCH_ADDRESS=search, IMGSEARCH_FETCH_TIMEOUT_S="0.5")
            group.wait_address("api", START_S)
            found = Site(home, shop, redis.url, search, f"http://127.0.0.1:{port}")
            publish(shop.store, "local", shop.build("s0").id, "test", "the first")
            found.release()
            yield found
    finally:
        redis.kill()


def test_all_golden_queries_are_right(site: Site) -> None:
    generation = site.release()
    probed = site.probe().look()
    assert (probed.right, probed.reason, probed.queries) == (True, "", 16)
    assert (probed.environment, probed.generation) == ("local", generation)
    assert 0 < probed.median_ms <= probed.longest_ms
    assert json.loads(probed.json())["generation"] == generation


def test_the_golden_queries_are_those_of_the_release(site: Site) -> None:
    manifest = site.shop.build("s-kept")
    assert kept_golden(site.shop.store, manifest.id) is None
    generation = site.release()
    kept = kept_golden(site.shop.store, generation)
    assert kept == golden_of(load(site.shop.store, read_manifest(site.shop.store, generation)))
    site.shop.store.put(golden_key(manifest.id), b"[{}]")
    with pytest.raises(Unverified) as error:
        kept_golden(site.shop.store, manifest.id)
    assert str(error.value) == (
        f"generations/{manifest.id}/golden.json holds no golden queries; remove it, and they are chosen anew"
    )


def test_they_go_with_their_generation(site: Site) -> None:
    first = site.release()
    for _ in range(2):
        site.release()
    assert first in prune(site.shop.store, 1)
    assert kept_golden(site.shop.store, first) is None


def test_an_answer_that_is_not_the_expected_one_is_wrong(site: Site) -> None:
    generation = site.release()
    golden = json.loads(site.shop.store.get(golden_key(generation)))
    golden[3]["nearest"] = -0.5
    site.shop.store.put(golden_key(generation), json.dumps(golden).encode())
    probed = site.probe(deadline_s=2.0).look()
    assert (probed.generation, probed.right) == (generation, False)
    said = (
        f"1 of 16 golden queries are not answered rightly by {site.api} (product_id of "
        f"{golden[3]['product_id']}: the nearest product has a score of "
    )
    assert probed.reason.startswith(said)
    assert probed.reason.endswith(", in the index -0.5000)")


def test_a_front_that_hangs_is_told_by_the_deadline(site: Site) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    probed = site.probe(url, deadline_s=1.0).look()
    assert probed.reason.startswith(f"16 of 16 golden queries are not answered rightly by {url} (product_id")
    probed = site.probe(deadline_s=0.001).look()
    assert probed.reason == f"{site.api} did not answer 16 golden queries in 0.001 s"


class Leaving(LocalObjectStore):
    """Away once the pointer was read."""

    def version(self, key: str) -> str | None:
        version, self.version = super().version(key), self._away  # type: ignore[method-assign]
        return version

    def _away(self, key: str) -> str | None:
        raise Unavailable("the object store does not answer")


def test_a_store_that_goes_away_during_a_look_ends_no_probe(site: Site) -> None:
    site.release()
    url = f"http://127.0.0.1:{free_port()}"
    probed = Probe(Leaving(site.shop.store.root), "local", url, None, 1.0).look()
    assert not probed.right
    assert f"golden queries are not answered rightly by {url}" in probed.reason


def test_what_has_no_golden_queries_is_said(site: Site) -> None:
    probe = Probe(site.shop.store, "staging", site.api, None, 5.0)
    assert probe.look().reason == "nothing was ever released in staging"
    manifest = site.shop.build("s-bare")
    publish(site.shop.store, "staging", manifest.id, "test", "nobody asks")
    probed = probe.look()
    assert (probed.generation, probed.right) == (manifest.id, False)
    assert probed.reason == (
        f"generation {manifest.id} has no golden queries yet: the release that asks them through the public "
        "API (IMGSEARCH_STAGING_API_URL, IMGSEARCH_PRODUCTION_API_URL) keeps them"
    )


def test_figures_say_what_was_seen(site: Site) -> None:
    site.release()
    metrics = ProbeMetrics()
    for url, right in ((site.api, 1.0), (f"http://127.0.0.1:{free_port()}", 0.0)):
        metrics.saw(site.probe(url, deadline_s=2.0).look())
        assert metrics.registry.get_sample_value("imgsearch_probe_right") == right
        assert (metrics.registry.get_sample_value("imgsearch_probe_timestamp_seconds") or 0) > 1.7e9
    port = free_port()
    show(metrics.registry, "127.0.0.1", port)
    assert "imgsearch_probe_longest_seconds" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
    with pytest.raises(BadSettings) as error:
        show(metrics.registry, "127.0.0.1", port)
    assert str(error.value) == f"cannot listen on 127.0.0.1:{port} for metrics: Address already in use"


def test_the_command_prints_a_line_and_tells_by_its_status(site: Site) -> None:
    generation = site.release()
    done = site.command("--url", site.api)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["generation"] == generation
    done = site.command("--url", f"http://127.0.0.1:{free_port()}", "--deadline", "1")
    assert done.returncode == 1
    assert json.loads(done.stdout)["right"] is False
    done = site.command()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "imgsearch: no public API of local is named: give --url\n"


def test_the_command_stays_and_shows_figures(site: Site) -> None:
    site.release()
    port = free_port()
    options = ["--url", site.api, "--every", "1", "--metrics-port", str(port)]
    command = python_module("imgsearch_assets.cli", "probe", "--home", str(site.home))
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines = [json.loads(process.stdout.readline()) for _ in range(2)]
            assert [line["right"] for line in lines] == [True, True]
            text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
            assert "imgsearch_probe_right 1.0" in text
        finally:
            process.terminate()
        assert process.wait(30) == 130
