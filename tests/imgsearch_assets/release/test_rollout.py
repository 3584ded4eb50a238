"""Releases that are watched: by search services over gRPC, and by an API, all processes of their own."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from imgsearch_assets.environment import Environment, read_environment
from imgsearch_assets.features.rows import fill_feature_store
from imgsearch_assets.gates.generation import run_gates
from imgsearch_assets.local.installation import python_module
from imgsearch_assets.local.processes import ProcessGroup, free_port
from imgsearch_assets.release.publish import history, publish, rollback, status
from imgsearch_assets.release.rollout import Candidate, Released, candidate, promote, release
from imgsearch_assets.settings import PipelineSettings
from serving.cache.features import FeatureStore
from serving.errors import BadInput, Conflict, NotFound, Unverified
from serving.identity.store import create
from serving.index.generation import Manifest
from tests.conftest import Shop
from tests.redis_process import RedisProcess
from tests.running import until

ROOT = Path(__file__).resolve().parents[3]
START_S = 90.0


@dataclass
class Site:
    """Two replicas, of which ``own`` are the segments of the second, and a front; all of one environment."""

    home: Path
    shop: Shop
    own: Path
    searches: str
    api: str
    redis: str
    built: int = 0

    def environment(self, **told: object) -> Environment:
        base = read_environment().serving
        said = {
            "staging_search_address": self.searches,
            "staging_api_url": self.api,
            "release_deadline_s": 30,
        }
        return Environment(PipelineSettings.model_validate(said | told), base)

    def generation(self, *, filled: bool = True, embedder: str = Shop.embedder) -> Manifest:
        """Another one than all before, its features in Redis if ``filled``."""
        self.built += 1
        shop = self.shop
        shop.vectors = np.roll(shop.vectors, 1, axis=1)
        manifest = shop.build(f"s{self.built}", embedder=embedder)
        if filled:
            fill_feature_store(FeatureStore(self.redis, 5.0), embedder, shop.items, shop.vectors)
        return manifest

    def release(self, manifest: Manifest, **told: object) -> Released:
        return release(self.shop.store, self.environment(**told), "local", manifest.id, "test", "why")

    def live(self) -> str:
        found = status(self.shop.store, "local")
        assert found is not None
        return found.generation


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home, other = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("other")
    shop = Shop(home / "objects")
    (other / "objects").mkdir()
    for name in ("environments", "generations", "segments"):
        (home / "objects" / name).mkdir(exist_ok=True)
        (other / "objects" / name).symlink_to(home / "objects" / name)
    redis = RedisProcess()
    told = {"IMGSEARCH_POLL_INTERVAL_S": "0.1", "IMGSEARCH_REDIS_URL": redis.url}
    told |= {"IMGSEARCH_HOME": str(home), "IMGSEARCH_REDIS_TIMEOUT_S": "1"}
    try:
        with ProcessGroup(home / "logs", told) as group:
            group.start("search", python_module("serving", "search", "--port", "0"))
            group.start(
                "search-2", python_module("serving", "search", "--port", "0"), IMGSEARCH_HOME=str(other)
            )
            replicas = [group.wait_address(name, START_S) for name in ("search", "search-2")]
            searches, port = f"ipv4:{','.join(replicas)}", free_port()
            group.start(
                "api",
                python_module("serving", "api", "--port", str(port)),
                IMGSEARCH_SEARCH_ADDRESS=searches,
                IMGSEARCH_FETCH_TIMEOUT_S="0.5",
            )
            group.wait_address("api", START_S)
            found = Site(
                home, shop, other / "objects" / "segments", searches, f"http://127.0.0.1:{port}", redis.url
            )
            publish(shop.store, "local", found.generation().id, "test", "the first")
            yield found
    finally:
        redis.kill()


def test_a_release_stays_when_everybody_serves_it(site: Site) -> None:
    manifest = site.generation()
    done = site.release(manifest)
    assert done.pointer.live.generation == manifest.id
    assert not done.pointer.live.on_trial
    assert done.verified == ("2 of 2 search services serve it, 16 of 16 golden queries are answered rightly")
    assert done.heard is not None
    assert done.heard.smoke is not None
    assert sorted(done.heard.replicas) == sorted(site.searches.removeprefix("ipv4:").split(","))
    assert 0 < done.heard.smoke.median_ms <= done.heard.smoke.longest_ms

    again = site.release(manifest)
    assert (again.pointer, again.verified, again.heard) == (done.pointer, "it was live already", None)


def test_nobody_to_ask_is_said(site: Site) -> None:
    manifest = site.generation()
    done = site.release(manifest, staging_search_address=None, staging_api_url=None)
    assert done.verified == "nobody was asked: IMGSEARCH_STAGING_SEARCH_ADDRESS is not set"
    assert not done.pointer.live.on_trial
    unasked = site.release(site.generation(), staging_api_url=None)
    assert unasked.verified == "2 of 2 search services serve it; no public API is named to be asked"


def test_a_replica_that_refuses_it_takes_it_back(site: Site) -> None:
    before, manifest = site.live(), site.generation()
    shared = site.own.resolve()
    site.own.unlink()
    shutil.copytree(shared, site.own)
    base = site.own / Path(manifest.segment("base").key).name
    base.write_bytes(base.read_bytes()[:-1] + b"?")
    refused = site.searches.rpartition(",")[2]
    with pytest.raises(Unverified) as error:
        site.release(manifest, release_deadline_s=2)
    said = (
        f"1 of 2 search services do not serve it after 2 s ({refused}: {manifest.segment('base').key} does "
        "not have the hash that its name says)"
    )
    assert str(error.value) == (
        f"generation {manifest.id} was taken back from local, where {before} is live again: {said}; mend "
        "that, then release it once more"
    )
    live, left = history(site.shop.store, "local")[:2]
    assert (live.generation, live.rolled_back_from) == (before, manifest.id)
    assert (live.why, live.who, live.on_trial) == (f"taken back by itself: {said}", "test", False)
    assert left.generation == manifest.id

    shutil.rmtree(site.own)
    site.own.symlink_to(shared)
    assert site.release(manifest).pointer.live.generation == manifest.id


def test_wrong_answers_of_the_api_take_it_back(site: Site) -> None:
    """Features that nobody put into Redis: a picture's address finds nothing, though its product does."""
    before, manifest = site.live(), site.generation(filled=False, embedder="another")
    with pytest.raises(Unverified) as error:
        site.release(manifest, release_deadline_s=3)
    assert f"generation {manifest.id} was taken back from local, where {before} is live again: " in str(
        error.value
    )
    assert f"8 of 16 golden queries are not answered rightly by {site.api}/ (image_url of p" in str(
        error.value
    )
    assert site.live() == before


def test_an_api_of_somebody_else_takes_it_back(site: Site) -> None:
    before = site.live()
    with pytest.raises(Unverified, match=r"16 of 16 golden queries .*product_id of p\d+: no answer: "):
        site.release(
            site.generation(), staging_api_url=f"http://127.0.0.1:{free_port()}", release_deadline_s=2
        )
    assert site.live() == before


def test_what_somebody_else_released_meanwhile_is_left(site: Site) -> None:
    manifest, other = site.generation(), site.generation()
    gone = f"ipv4:127.0.0.1:{free_port()}"
    failed: list[Exception] = []

    def released() -> None:
        try:
            site.release(manifest, staging_search_address=gone, staging_api_url=None)
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=released)
    thread.start()
    until(lambda: site.live() == manifest.id, "released")
    publish(site.shop.store, "local", other.id, "somebody", "else")
    thread.join(20)
    (error,) = failed
    assert isinstance(error, Conflict)
    assert str(error) == (
        f"generation {manifest.id} was released in local, but generation {other.id} is live there by now: "
        "another publisher moved the pointer, which is left so"
    )
    assert [one.generation for one in history(site.shop.store, "local")[:2]] == [other.id, manifest.id]


def test_a_first_release_has_nothing_to_go_back_to(site: Site) -> None:
    manifest = site.generation()
    address = f"ipv4:127.0.0.1:{free_port()}"
    told = site.environment(production_search_address=address, release_deadline_s=0.5)
    with pytest.raises(Unverified) as error:
        release(site.shop.store, told, "production", manifest.id, "test", "why")
    assert str(error.value).startswith(
        f"generation {manifest.id} stays live in production though it is not served well: 1 of 1 search "
    )
    assert str(error.value).endswith(
        "it cannot be taken back: there is no earlier generation in production to go back to"
    )
    site.shop.store.delete("environments/production.json")


KILLED = """
import sys
from imgsearch_assets.environment import read_environment
from imgsearch_assets.release.rollout import release

told = read_environment()
release(told.store, told, "local", sys.argv[1], "test", "why")
"""


def test_who_is_killed_while_waiting_is_gone_on_for(site: Site) -> None:
    before, manifest = site.live(), site.generation()
    told = {"STAGING_SEARCH_ADDRESS": f"127.0.0.1:{free_port()}", "HOME": str(site.home)}
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, manifest.id],
        cwd=ROOT,
        env=os.environ | {f"IMGSEARCH_{name}": value for name, value in told.items()},
    )
    until(lambda: site.live() == manifest.id, "released")
    time.sleep(0.3)
    killed.kill()
    assert killed.wait(20) == -signal.SIGKILL
    left = status(site.shop.store, "local")
    assert left is not None
    assert left.on_trial
    with pytest.raises(
        Conflict, match=rf"^generation {manifest.id} is on trial in local still; promote it when"
    ):
        candidate(site.shop.store, site.environment(), "local", "production")

    done = site.release(manifest)
    assert done.verified.startswith("2 of 2 search services serve it")
    assert [one.generation for one in history(site.shop.store, "local")[:2]] == [manifest.id, before]
    assert done.pointer.live == left.model_copy(update={"on_trial": False})


def test_what_was_on_trial_itself_is_not_gone_back_to(site: Site) -> None:
    proven, doubtful = site.live(), site.generation()
    publish(site.shop.store, "local", doubtful.id, "test", "killed", on_trial=True)
    with pytest.raises(Unverified, match=f"from local, where {proven} is live again: 1 of 1 search services"):
        site.release(
            site.generation(),
            staging_search_address=f"127.0.0.1:{free_port()}",
            staging_api_url=None,
            release_deadline_s=0.5,
        )
    assert site.live() == proven


@pytest.fixture
def production(site: Site) -> Iterator[Environment]:
    """A replica of production, which asks for a key."""
    _, told = create(site.shop.store, "production", "pipeline", ["search"])
    environment = {"IMGSEARCH_HOME": str(site.home), "IMGSEARCH_ENVIRONMENT": "production"}
    environment |= {"IMGSEARCH_POLL_INTERVAL_S": "0.1"}
    with ProcessGroup(site.home / "logs", environment) as group:
        group.start("production", python_module("serving", "search", "--port", "0"))
        port = group.wait_address("production", START_S).rpartition(":")[2]
        # By name, as in a cluster.
        yield site.environment(production_search_address=f"dns:///localhost:{port}", production_key=told)
    site.shop.store.delete("environments/production.json")


def keys(site: Site) -> set[str]:
    objects = site.home / "objects"
    return {str(path.relative_to(objects)) for path in objects.rglob("*") if path.is_file()} - {
        "environments/.production.json.lock~"
    }


def test_production_gets_the_very_files_of_staging(site: Site, production: Environment) -> None:
    store = site.shop.store
    first = site.generation()
    publish(store, "local", first.id, "test", "staging")
    before = keys(site)
    found = candidate(store, production, "local", "production")
    assert found == Candidate("local", first.id, None)
    done = promote(store, production, found, "production", "anna", "looks good")
    assert done.verified == "1 of 1 search services serve it; no public API is named to be asked"
    assert keys(site) - before == {"environments/production.json"}
    assert (done.pointer.live.who, done.pointer.live.why) == ("anna", "looks good")

    second = site.generation()
    publish(store, "local", second.id, "test", "staging")
    found = candidate(store, production, "local", "production")
    assert found.report is not None
    assert found.report.overlap_at_10 == 1.0, "all vectors were turned alike"
    before, page = keys(site), store.get(found.report.page_key)
    assert candidate(store, production, "local", "production") == found
    strict = Environment(
        production.pipeline.model_copy(update={"replay_min_overlap": 1.0}), production.serving
    )
    changed = Candidate("local", second.id, found.report.model_copy(update={"overlap_at_10": 0.25}))
    with pytest.raises(Unverified) as error:
        promote(store, strict, changed, "production", "anna", "looks good")
    assert str(error.value) == (
        f"generation {second.id} stays out of production: replay_overlap: overlap@10 with {first.id} is "
        f"0.250, at least 1 wanted; look at reports/replay/{second.id}/{first.id}.html, and waive "
        "replay_overlap if that is meant"
    )
    with pytest.raises(BadInput, match=r"^a release says who makes it and why$"):
        promote(store, production, found, "production", "anna", "")
    done = promote(store, strict, changed, "production", "anna", "it is meant", frozenset({"replay_overlap"}))
    assert done.pointer.live.generation == second.id
    assert done.heard is not None
    assert keys(site) == before
    assert store.get(found.report.page_key) == page


@pytest.mark.parametrize("when", ["before", "while it is gated"])
def test_what_staging_went_back_from_meanwhile_is_not_promoted(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    store, told = shop.store, Environment(PipelineSettings(), read_environment().serving)
    first, second = shop.several(2)
    for manifest in (first, second):
        publish(store, "local", manifest.id, "test", "test")
    found = candidate(store, told, "local", "production")

    def back() -> None:
        rollback(store, "local", "op", "its shoes are wrong")

    if when == "before":
        back()
    else:
        monkeypatch.setattr(
            "imgsearch_assets.release.publish.run_gates", lambda *of: (run_gates(*of), back())[0]
        )
    with pytest.raises(Conflict) as error:
        promote(store, told, found, "production", "anna", "looks good")
    assert str(error.value) == (
        f"generation {second.id} is live in local no longer: {first.id} is (op rolled back from {second.id}: "
        f"its shoes are wrong); look at that one and promote it, or release {second.id} in local again first"
    )
    assert status(store, "production") is None

    monkeypatch.undo()
    publish(store, "local", second.id, "test", "mended")
    assert promote(store, told, found, "production", "anna", "good").pointer.live.generation == second.id


def test_a_key_that_is_not_taken_is_told(site: Site, production: Environment) -> None:
    pipeline = production.pipeline.model_copy(update={"production_key": None, "release_deadline_s": 0.5})
    nobody = Environment(pipeline, production.serving)
    with pytest.raises(Unverified, match=r"127.0.0.1:\d+: .*API key"):
        release(site.shop.store, nobody, "production", site.generation().id, "test", "why")


def test_there_is_something_to_promote(site: Site) -> None:
    with pytest.raises(NotFound, match=r"^nothing was ever released in staging$"):
        candidate(site.shop.store, site.environment(), "staging", "production")
