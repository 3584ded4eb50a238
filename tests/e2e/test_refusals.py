"""What is set wrongly, or not allowed, in production: the main job says what to mend, and publishes nothing.

The catalogue is in BigQuery, the objects are in a bucket, Redis has TLS and a password. What the emulators
cannot refuse (projects, rights) is refused before them, in Google's words.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imgsearch_assets.catalogue.contract import COLUMNS
from imgsearch_assets.catalogue.warehouse import FileWarehouse
from imgsearch_assets.local.installation import objects_of
from imgsearch_assets.refresh import run_refresh
from imgsearch_assets.release.publish import status
from serving.errors import ImgsearchError
from tests.between import Answer, Request, between
from tests.bigquery_process import PROJECT, emulator, gate
from tests.gcs_process import BUCKET, EMULATOR, GcsProcess
from tests.imgsearch_assets.small_shop import Shop, small_shop
from tests.imgsearch_assets.warehouse.conftest import BigQueryPlace
from tests.secure_redis import PASSWORD, REFUSED, secure_redis, urls

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PRODUCTS = 8
NO_RIGHT = "imgsearch@shop.iam.gserviceaccount.com does not have storage.objects.create access"


@dataclass
class Production:
    """A shop whose first generation is live."""

    shop: Shop
    place: BigQueryPlace
    redis: dict[str, str]
    writes_refused: list[bool] = field(default_factory=list)  # while there is one, the bucket takes nothing

    def network(self, request: Request, ask: Callable[[], Answer]) -> Answer:
        if self.writes_refused and request.method in ("POST", "PUT"):
            error = {"code": 403, "message": NO_RIGHT, "errors": [{"reason": "forbidden"}]}
            return 403, [("Content-Type", "application/json")], json.dumps({"error": error}).encode()
        return ask()

    def live(self) -> tuple[object, set[str]]:
        """What is released, and everything that a replica could be told to load."""
        store = objects_of(self.shop.home)
        return status(store, "local"), {
            key for prefix in ("generations", "environments") for key in store.list(prefix)
        }


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    home = tmp_path_factory.mktemp("production")
    gcs = GcsProcess()
    made: list[Production] = []

    def network(request: Request, ask: Callable[[], Answer]) -> Answer:
        return made[0].network(request, ask) if made else ask()

    with (
        secure_redis(home) as redis,
        emulator(home / "bigquery") as warehouse,
        gate(warehouse.rest) as before,
        between(network, lambda _: gcs.url) as bucket,
        small_shop(home / "shop", PRODUCTS) as shop,
        pytest.MonkeyPatch.context() as patch,
    ):
        place = BigQueryPlace(warehouse, before)
        rows = FileWarehouse(str(shop.sample.catalogue)).read(COLUMNS).select(COLUMNS)
        place.write(rows)
        place.client.create_dataset("other")
        lacking = BigQueryPlace(warehouse, before)
        lacking.write(rows.drop_columns(["colour"]))
        for name, value in {
            EMULATOR: bucket,
            "IMGSEARCH_OBJECTS": f"gs://{BUCKET}/shop",
            "IMGSEARCH_REDIS_URL": redis.url,
            "IMGSEARCH_CATALOGUE": f"bigquery:{place.table}",
            "IMGSEARCH_BIGQUERY_ENDPOINT": before.url,
            "IMGSEARCH_BIGQUERY_STORAGE_ENDPOINT": warehouse.storage,
            "IMGSEARCH_BIGQUERY_WORK_DATASET": place.work,
            "IMGSEARCH_BIGQUERY_DEADLINE_S": "30",
            "LACKING": f"bigquery:{lacking.table}",
        }.items():
            patch.setenv(name, value)
        made.append(Production(shop, place, urls(redis, home)))
        assert run_refresh().indexed == PRODUCTS
        yield made[0]
        place.client.close()
        lacking.client.close()
    gcs.kill()


def refuse(where: str, status: int, reason: str, message: str) -> Callable[[Production], dict[str, str]]:
    """BigQuery answers so, to whatever asks for ``where``."""

    def prepare(production: Production) -> dict[str, str]:
        production.place.gate.answer(where, status, reason, message)
        return {}

    return prepare


def told(**environment: str) -> Callable[[Production], dict[str, str]]:
    return lambda _: environment


def no_writes(production: Production) -> dict[str, str]:
    production.writes_refused.append(True)
    return {}


# What is wrong: how it comes about, and what is said of it.
CASES: dict[str, tuple[Callable[[Production], dict[str, str]], tuple[str, ...]]] = {
    "a project that is not there": (
        refuse("^GET .*/tables/products", 404, "notFound", "Not found: Project shop-pord"),
        ("there is no project shop-pord; check IMGSEARCH_CATALOGUE and IMGSEARCH_BIGQUERY_PROJECT",),
    ),
    "no rights to the table": (
        refuse(
            "^GET .*/tables/products", 403, "accessDenied", "Access Denied: Table shop: Permission denied"
        ),
        ("no rights; grant the account roles/bigquery.dataViewer",),
    ),
    "no right to run jobs": (
        refuse("^POST .*/jobs", 403, "accessDenied", "Access Denied: Project shop: bigquery.jobs.create"),
        ("product_snapshot failed", "no rights; grant the account", "roles/bigquery.jobUser"),
    ),
    "a table that is not there": (
        told(IMGSEARCH_CATALOGUE=f"bigquery:{PROJECT}.other.products"),
        ("there is no table", "check IMGSEARCH_CATALOGUE"),
    ),
    "a table without a column": (
        lambda _: {"IMGSEARCH_CATALOGUE": os.environ["LACKING"]},
        ("lacks the column colour; the contract has product_id", "rename what is there, or make a view"),
    ),
    "a bucket that is not there": (
        told(IMGSEARCH_OBJECTS="gs://no-such-bucket/shop"),
        ("IMGSEARCH_OBJECTS is gs://no-such-bucket/shop: there is no bucket no-such-bucket", "or make it"),
    ),
    "no right to write to the bucket": (
        no_writes,
        (f"IMGSEARCH_OBJECTS is gs://{BUCKET}/shop: no right to what is needed", "roles/storage.objectUser"),
    ),
    "a password that Redis refuses": (
        lambda production: {"IMGSEARCH_REDIS_URL": production.redis["wrong password"]},
        ("feature_store failed", REFUSED["wrong password"]),
    ),
    "no password for Redis": (
        lambda production: {"IMGSEARCH_REDIS_URL": production.redis["no password"]},
        ("feature_store failed", REFUSED["no password"]),
    ),
    "a certificate of Redis's that nobody knows": (
        lambda production: {"IMGSEARCH_REDIS_URL": production.redis["wrong CA"]},
        ("feature_store failed", REFUSED["wrong CA"]),
    ),
    "a file of authorities that is not there": (
        told(IMGSEARCH_REDIS_URL="rediss://:p@127.0.0.1:1/0?ssl_ca_certs=/no/ca.pem"),
        ("ssl_ca_certs of IMGSEARCH_REDIS_URL cannot be read: /no/ca.pem: No such file or directory",),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_said_what_to_mend_and_nothing_is_published(
    case: str, production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, said = CASES[case]
    before = production.live()
    with monkeypatch.context() as patch:
        for name, value in prepare(production).items():
            patch.setenv(name, value)
        with pytest.raises(ImgsearchError) as refused:
            run_refresh()
    production.writes_refused.clear()
    production.place.gate.forget()
    assert [part for part in said if part not in refused.value.message] == [], refused.value.message
    assert len(refused.value.message.splitlines()) == 1
    assert PASSWORD not in refused.value.message
    assert production.live() == before


def test_once_all_is_mended_the_job_goes_on(production: Production) -> None:
    before = production.live()
    assert run_refresh().indexed == PRODUCTS
    assert production.live() == before, "nothing had changed"


def test_it_is_said_to_who_types_the_command(production: Production, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "imgsearch_assets.cli", "run", "--once", "--home", str(tmp_path)]
    command += ["--catalogue", f"bigquery:{PROJECT}.other.products"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("imgsearch: ")
    assert "there is no table" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
