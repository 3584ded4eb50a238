"""Everything as a person starts it: the demo, its page, API and Dagster, and a changed catalogue."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest
from dagster import AssetKey, DagsterInstance
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from imgsearch_assets.assets import index
from imgsearch_assets.local.processes import free_port, port_is_free
from imgsearch_assets.release.publish import status
from imgsearch_assets.sample.catalogue import Sample, generate_sample
from imgsearch_assets.sample.change import change_catalogue, opened
from imgsearch_assets.sample.evaluate import street_queries
from serving.index.artifact import load
from serving.index.store import read_manifest
from serving.object_store import LocalObjectStore
from tests import running

PRODUCTS = 40
MODELS = ("item_detector", "item_embedder")
CHAIN = (
    *("products", "product_snapshot", "catalogue_diff", "product_images", "item_detections"),
    *("item_embeddings", "ann_index", "feature_store", "staging_release"),
)
# Dagster's UI asks its server for each thing it shows, on a machine that may be busy.
PATIENCE_MS = 60_000
IMGSEARCH = Path(sys.executable).parent / "imgsearch"
until = partial(running.until, timeout_s=300, every_s=0.3)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass
class Demo:
    """A running demo; ``home`` is the folder of its installation."""

    process: subprocess.Popen[str]
    home: Path
    ports: dict[str, int]
    http: httpx.Client

    @property
    def sample(self) -> Sample:
        return generate_sample(self.home / "sample", PRODUCTS, 7, self.ports["pictures"])

    @property
    def dagster(self) -> str:
        return f"http://127.0.0.1:{self.ports['dagster']}"

    @property
    def instance(self) -> DagsterInstance:
        return DagsterInstance.from_config(str(self.home / "dagster"))

    def search(self, picture: bytes, **fields: object) -> list[str]:
        """Of all products, sold out or not."""
        data = {"k": "10", "filters": '{"in_stock_only": false}', **fields}
        reply = self.http.post("/v1/search/image", files={"image": ("street.jpg", picture)}, data=data)
        assert reply.status_code == 200, reply.text
        return [hit["product_id"] for hit in reply.json()["results"]]

    def metadata(self, asset: str) -> dict[str, object]:
        event = self.instance.get_latest_materialization_event(AssetKey(asset))
        assert event is not None
        assert event.asset_materialization is not None
        return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def start(home: Path, *options: str, ports: dict[str, int] | None = None) -> subprocess.Popen[str]:
    chosen = [word for name, port in (ports or {}).items() for word in (f"--{name}-port", str(port))]
    command = [IMGSEARCH, "demo", "--products", str(PRODUCTS), "--home", home, *chosen, *options]
    environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=home.parent
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    home = tmp_path_factory.mktemp("demo") / "home"
    ports = {name: free_port() for name in ("api", "dagster", "pictures")}
    process = start(home, ports=ports)
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if "Ctrl-C stops everything" in line:
            break
    else:
        pytest.fail("the demo ended: " + "".join(said))
    with httpx.Client(base_url=f"http://127.0.0.1:{ports['api']}", timeout=60) as http:
        yield Demo(process, home / f"drawn-{PRODUCTS}-7", ports, http)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    # Whatever a test did before, nothing may stay behind.
    assert all(port_is_free(port) for port in ports.values())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "install chromium (Debian: apt-get install chromium)"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1900, "height": 1000})
    yield opened
    opened.close()


def is_shown(picture: Locator) -> None:
    """Wait until the picture is there and was decoded."""
    expect(picture).to_be_visible(timeout=PATIENCE_MS)
    picture.page.wait_for_function(
        "image => image.complete && image.naturalWidth > 0", arg=picture.element_handle()
    )


def test_a_street_picture_finds_its_product(demo: Demo) -> None:
    queries = street_queries(demo.sample, 10)
    found = [product in demo.search(picture) for picture, product in queries]
    assert sum(found) >= 6


def test_a_product_finds_others_and_not_itself(demo: Demo) -> None:
    product = demo.search(street_queries(demo.sample, 1)[0][0])[0]
    similar = demo.http.get(f"/v1/products/{product}/similar").json()["results"]
    ids = [hit["product_id"] for hit in similar]
    assert ids
    assert product not in ids
    assert len(set(ids)) == len(ids)


def test_the_page_finds_a_dropped_picture(demo: Demo, page: Page, tmp_path: Path) -> None:
    picture = tmp_path / "street.jpg"
    picture.write_bytes(street_queries(demo.sample, 1)[0][0])
    page.goto(f"http://127.0.0.1:{demo.ports['api']}/")
    page.set_input_files("input[type=file]", picture)
    results = page.locator("#results li")
    expect(results.first).to_be_visible(timeout=30_000)
    is_shown(results.first.locator("img"))


def test_dagster_shows_where_a_result_came_from(demo: Demo, page: Page) -> None:
    shown = "view=lineage&lineageScope=upstream&lineageDepth=10"
    page.goto(f"{demo.dagster}/assets/staging_release?{shown}")
    for asset in (*CHAIN, *MODELS):
        expect(page.get_by_text(asset, exact=True).last).to_be_visible(timeout=PATIENCE_MS)


def test_dagster_shows_what_is_searchable_and_since_when(demo: Demo, page: Page) -> None:
    page.goto(f"{demo.dagster}/assets/ann_index?view=overview")
    expect(page.get_by_text("Passing", exact=True).first).to_be_visible(timeout=PATIENCE_MS)
    generation = str(demo.metadata("ann_index")["generation"])
    expect(page.get_by_text(generation, exact=True).first).to_be_visible()
    page.goto(f"{demo.dagster}/assets/ann_index?view=checks")
    for gate in index.GATES:
        expect(page.get_by_text(gate, exact=True).first).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("Failed", exact=True)).to_have_count(0)


@pytest.mark.parametrize(
    ("asset", "picture"),
    [
        ("product_images", "new_pictures"),
        ("item_detections", "boxes"),
        ("ann_index", "neighbours"),
    ],
)
def test_dagster_shows_pictures(demo: Demo, page: Page, asset: str, picture: str) -> None:
    page.goto(f"{demo.dagster}/assets/{asset}?view=overview")
    row = page.locator("tr", has=page.get_by_text(picture, exact=True))
    row.get_by_text("[Show Markdown]").click(timeout=PATIENCE_MS)
    is_shown(page.get_by_role("dialog").locator("img").first)


def test_a_sale_is_seen_before_there_is_a_new_generation(demo: Demo) -> None:
    def similar() -> tuple[str, list[str]]:
        answer = demo.http.get(f"/v1/products/{product}/similar").json()
        return answer["generation"], [hit["product_id"] for hit in answer["results"]]

    product = demo.search(street_queries(demo.sample, 1)[0][0])[0]
    until(lambda: demo.http.get(f"/v1/products/{product}/similar").json()["stock"], "the stock")
    before, shown = similar()
    with opened(demo.sample.catalogue) as connection:
        connection.execute("UPDATE products SET in_stock = false WHERE product_id = ?", [shown[0]])
    until(lambda: shown[0] not in similar()[1], "a sale", timeout_s=10)
    assert similar()[0] == before
    until(lambda: similar()[0] != before, "a new generation")
    with opened(demo.sample.catalogue) as connection:
        connection.execute("UPDATE products SET in_stock = true WHERE product_id = ?", [shown[0]])
    until(lambda: shown[0] in similar()[1], "its return", timeout_s=10)
    before, _ = similar()
    until(lambda: similar()[0] != before, "a new generation")


def test_a_changed_catalogue_is_searchable_by_itself(demo: Demo) -> None:
    def pictures_served() -> dict[str, int]:
        paths: dict[str, int] = httpx.get(f"http://127.0.0.1:{demo.ports['pictures']}/_stats").json()["paths"]
        return paths

    served = pictures_served()
    generation = demo.http.get("/v1/status").json()["generation"]
    runs = demo.instance.get_runs_count()
    time.sleep(5)
    assert demo.instance.get_runs_count() == runs, "an unchanged catalogue started a run"

    change = change_catalogue(demo.sample, add=10, remove=5, repicture=1, seed=1)
    until(lambda: demo.http.get("/v1/status").json()["generation"] != generation, "a new generation")

    for product in change.added:
        assert demo.http.get(f"/v1/products/{product}").status_code == 200
    for product in change.removed:
        assert demo.http.get(f"/v1/products/{product}").status_code == 404
    # Only the difference moved. The other pictures of the product that has a new one were asked about again
    # and had not changed.
    again = {path: count - served.get(path, 0) for path, count in pictures_served().items()}
    asked = [path for path, count in again.items() if count]
    downloads = demo.metadata("product_images")
    assert (downloads["downloaded"], downloads["not_modified"]) == (31, 2)
    assert sum(again.values()) == len(asked) == 33
    assert demo.metadata("item_detections")["detected"] == 31
    embedded = demo.metadata("item_embeddings")["embedded"]
    assert isinstance(embedded, int)
    assert 31 <= embedded <= 2 * 31


def test_a_second_demo_on_the_same_folder_is_refused(demo: Demo) -> None:
    second = start(demo.home.parent, ports={name: free_port() for name in demo.ports})
    _, said = second.communicate(timeout=60)
    assert second.returncode == 1
    assert said.strip() == (
        f"imgsearch: process {demo.process.pid} already works in {demo.home}; "
        "stop it or choose another with --home"
    )


def test_a_taken_port_is_one_sentence(demo: Demo, tmp_path: Path) -> None:
    second = start(tmp_path / "home", ports=demo.ports)
    _, said = second.communicate(timeout=60)
    assert second.returncode == 1
    assert said.strip() == (
        f"imgsearch: port {demo.ports['api']} is taken; free it or choose another with --api-port"
    )


def test_search_goes_on_without_redis(demo: Demo) -> None:
    (redis,) = (child for child in psutil.Process(demo.process.pid).children() if "server" in child.name())
    redis.kill()
    picture, _ = street_queries(demo.sample, 1)[0]
    product = demo.search(picture)[0]
    similar = demo.http.get(f"/v1/products/{product}/similar")
    assert similar.json()["features"] == "index"
    assert demo.process.poll() is None


def test_ctrl_c_stops_everything_and_a_second_start_reuses_what_is_there(demo: Demo) -> None:
    demo.process.send_signal(signal.SIGINT)
    _, said = demo.process.communicate(timeout=60)
    assert demo.process.returncode == 130, said
    assert all(port_is_free(port) for port in demo.ports.values())

    again = start(demo.home.parent, "--once", "--json", ports=demo.ports)
    out, said = again.communicate(timeout=600)
    assert again.returncode == 0, said
    figures = json.loads(out.splitlines()[-1])
    assert set(figures) == {
        *("products", "pictures", "indexed", "download_failures", "recall_at_10_vs_exact"),
        *("street_to_shop_recall_at_10", "seconds", "generation"),
    }
    assert "reusing the sample" in said
    assert demo.metadata("product_images")["downloaded"] == 0
    assert demo.metadata("item_embeddings")["embedded"] == 0
    assert figures["recall_at_10_vs_exact"] >= 0.95


@pytest.mark.parametrize("kinds", [("base",), ("products", "manifest")])
def test_a_damaged_index_is_mended_by_the_next_start(demo: Demo, kinds: tuple[str, ...]) -> None:
    store = LocalObjectStore(demo.home / "objects")
    release = status(store, "local")
    assert release is not None
    manifest = read_manifest(store, release.generation)
    for kind in kinds:
        key = manifest.key if kind == "manifest" else manifest.segment(kind).key  # type: ignore[arg-type]
        store.put(key, store.get(key)[:-9] + b"?" * 9)
    again = start(demo.home.parent, "--once", "--json", ports=demo.ports)
    out, said = again.communicate(timeout=600)
    assert again.returncode == 0, said
    assert json.loads(out.splitlines()[-1])["generation"] == release.generation
    mended = status(store, "local")
    assert mended is not None
    load(store, read_manifest(store, mended.generation, mended.manifest_sha256))
    assert demo.metadata("product_images")["downloaded"] == 0
