"""What BigQuery is asked, what it costs, and what is said when it refuses."""

import logging
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from google.auth import exceptions as auth
from google.cloud import bigquery

from imgsearch_assets.assets import catalogue
from imgsearch_assets.environment import read_environment
from imgsearch_assets.resources import resources_of
from imgsearch_assets.warehouse import bigquery as module
from imgsearch_assets.warehouse.bigquery_client import BigQueryClients
from serving.errors import BadInput, BadSettings, Unavailable
from tests.bigquery_process import PROJECT
from tests.imgsearch_assets.catalogue.test_diff import PRODUCT, table
from tests.imgsearch_assets.warehouse.conftest import BigQueryPlace

ROWS = table({"a": PRODUCT, "b": PRODUCT})
OTHER = table({"a": PRODUCT | {"price": 2}, "c": PRODUCT})
LOOK = r"GET /bigquery/v2/projects/[^/]+/datasets/retail_"
JOB = r"POST /bigquery/v2/projects/[^/]+/jobs"


@pytest.fixture
def place(bigquery_place: BigQueryPlace) -> BigQueryPlace:
    bigquery_place.write(ROWS)
    return bigquery_place


def labels(step: str) -> dict[str, str]:
    return {"app": "imgsearch", "step": step, "environment": "staging"}


def test_a_look_is_metadata_alone(place: BigQueryPlace) -> None:
    warehouse = place.warehouse()
    warehouse.stamp()
    warehouse.version()
    assert {asked.method for asked in place.gate.asked} == {"GET"}
    assert all("/tables/products?" in asked.path for asked in place.gate.asked)


def test_a_snapshot_is_a_table_that_expires_and_bills_nothing(place: BigQueryPlace) -> None:
    answer = place.warehouse(bigquery_copy_days=3).snapshot()
    (job,) = place.gate.jobs()
    assert job["labels"] == labels("snapshot")
    assert job["copy"]["operationType"] == "SNAPSHOT"
    assert "destinationExpirationTime" in job["copy"]
    (copy,) = place.work_tables()
    assert copy.table_type == "SNAPSHOT"
    assert answer.metadata["copy"] == f"{PROJECT}.{place.work}.{copy.table_id}"
    assert answer.metadata["read_by"] == "Storage Read API"
    assert answer.metadata["bytes_billed"] == 0
    place.write(OTHER)
    assert [row["product_id"] for row in place.client.list_rows(copy)] == ["a", "b"]


def test_the_difference_is_a_query_with_a_cap_on_tables_that_expire(place: BigQueryPlace) -> None:
    warehouse = place.warehouse(bigquery_max_bytes_billed=10**8)
    answer = warehouse.difference(OTHER, ROWS)
    assert answer.metadata["read_by"] == "Storage Read API"
    assert isinstance(answer.metadata["bytes_billed"], int)
    *_, query = place.gate.jobs()
    assert query["labels"] == labels("difference")
    assert query["query"]["maximumBytesBilled"] == str(10**8)
    assert query["jobTimeoutMs"] == "30000"
    assert all(it.expires is not None for it in place.work_tables())
    assert len(place.work_tables()) == 2
    # Named by content: a second comparison loads nothing.
    place.gate.asked.clear()
    warehouse.difference(OTHER, ROWS)
    assert [list(job) for job in place.gate.jobs()] == [list(query)]


def test_without_the_storage_api_rows_come_by_rest(
    place: BigQueryPlace, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = place.warehouse().snapshot().value
    warehouse = place.warehouse(bigquery_storage_endpoint="127.0.0.1:9", bigquery_deadline_s=1)
    with caplog.at_level(logging.WARNING):
        answer = warehouse.snapshot()
    assert answer.metadata["read_by"] == "REST"
    assert answer.value.cast(wanted.schema).equals(wanted)
    assert "the Storage Read API gives no rows, they come by REST, more slowly" in caplog.text


def test_a_view_is_copied_and_watched_by_its_tables(place: BigQueryPlace) -> None:
    view = f"{PROJECT}.{place.dataset}.shown"
    place.client.query(
        f"CREATE VIEW `{view}` AS SELECT * FROM `{place.table}` WHERE product_id = 'a'"  # noqa: S608
    ).result()
    with pytest.raises(BadSettings) as refused:
        place.warehouse(view).stamp()
    assert str(refused.value) == (
        f"the catalogue {view} is a view, and a view's metadata do not say when its rows change; name the "
        "tables behind it in IMGSEARCH_BIGQUERY_CHANGES"
    )
    warehouse = place.warehouse(view, bigquery_changes=place.table)
    stamp = warehouse.stamp()
    answer = warehouse.snapshot()
    assert answer.value["product_id"].to_pylist() == ["a"]
    assert warehouse.read(("product_id",))["product_id"].to_pylist() == ["a"]
    copied, read = place.gate.jobs()
    assert "maximumBytesBilled" in copied["query"]
    assert copied["labels"] == labels("snapshot")
    assert read["labels"] == labels("stock")
    (copy,) = place.work_tables()
    assert copy.expires is not None
    place.write(OTHER.slice(1))
    assert warehouse.stamp() != stamp


def test_a_column_of_another_type_is_named(place: BigQueryPlace) -> None:
    table = f"{PROJECT}.{place.dataset}.other"
    other = "* REPLACE(CAST(price AS FLOAT64) AS price, 'x' AS image_urls)"
    place.client.query(f"CREATE TABLE `{table}` AS SELECT {other} FROM `{place.table}`").result()  # noqa: S608
    warehouse = place.warehouse(table)
    for read in (warehouse.version, warehouse.snapshot):
        with pytest.raises(BadInput) as refused:
            read()
        assert str(refused.value) == (
            f"the catalogue {table} has columns of another type: price is FLOAT64, not INT64; image_urls is "
            "STRING, not ARRAY<STRING>; cast them in a view"
        )


def test_a_table_that_is_not_there_is_named(place: BigQueryPlace) -> None:
    with pytest.raises(BadInput) as refused:
        place.warehouse(f"{PROJECT}.{place.dataset}.nope").stamp()
    assert str(refused.value) == (
        f"looking at {PROJECT}.{place.dataset}.nope: there is no table {PROJECT}:{place.dataset}.nope; "
        "check IMGSEARCH_CATALOGUE"
    )


REFUSALS: list[tuple[str, int, str, str, type[Exception], str]] = [
    (
        LOOK,
        404,
        "notFound",
        "Not found: Project shop-prod",
        BadSettings,
        "looking at {table}: there is no project shop-prod; check IMGSEARCH_CATALOGUE and "
        "IMGSEARCH_BIGQUERY_PROJECT",
    ),
    (
        LOOK,
        403,
        "accessDenied",
        "Access Denied: Table shop-prod:retail.products",
        BadSettings,
        "looking at {table}: no rights; grant the account roles/bigquery.dataViewer on the catalogue's "
        "dataset (Access Denied: Table shop-prod:retail.products)",
    ),
    (
        LOOK,
        401,
        "authError",
        "Invalid Credentials",
        BadSettings,
        "looking at {table}: there are no Google credentials that are taken; on a pod bind its service "
        "account (workload identity), elsewhere run: gcloud auth application-default login (Anonymous "
        "credentials cannot be refreshed.)",
    ),
    (
        JOB,
        404,
        "notFound",
        "Not found: Dataset shop-prod:imgsearch",
        BadSettings,
        "copying the catalogue {table}: there is no dataset shop-prod:imgsearch; check IMGSEARCH_CATALOGUE, "
        "and create IMGSEARCH_BIGQUERY_WORK_DATASET in the catalogue's location",
    ),
    (
        JOB,
        403,
        "accessDenied",
        "Access Denied: Project shop-prod: User does not have bigquery.jobs.create permission",
        BadSettings,
        "copying the catalogue {table}: no rights; grant the account roles/bigquery.dataViewer on the "
        "catalogue's dataset; roles/bigquery.jobUser and roles/bigquery.readSessionUser on the project, and "
        "roles/bigquery.dataEditor on IMGSEARCH_BIGQUERY_WORK_DATASET (Access Denied: Project shop-prod: "
        "User does not have bigquery.jobs.create permission)",
    ),
    (
        JOB,
        403,
        "quotaExceeded",
        "Quota exceeded: too many copy jobs",
        Unavailable,
        "copying the catalogue {table}: Google does not answer in time or asks to wait (Quota exceeded: too "
        "many copy jobs)",
    ),
]


@pytest.mark.parametrize(("where", "status", "reason", "said", "error", "sentence"), REFUSALS)
def test_each_refusal_names_its_mend(
    place: BigQueryPlace,
    where: str,
    status: int,
    reason: str,
    said: str,
    error: type[Exception],
    sentence: str,
) -> None:
    place.gate.answer(where, status, reason, said)
    with pytest.raises(error) as refused:
        place.warehouse().snapshot()
    assert str(refused.value) == sentence.format(table=place.table)
    assert not place.work_tables()


def test_a_query_over_the_cap_names_the_setting(place: BigQueryPlace) -> None:
    warehouse = place.warehouse()
    warehouse.difference(OTHER, ROWS)
    said = "Query exceeded limit for bytes billed: 100. 200 or higher required."
    place.gate.answer(JOB, 400, "bytesBilledLimitExceeded", said)
    with pytest.raises(BadSettings) as refused:
        warehouse.difference(OTHER, ROWS)
    assert str(refused.value) == (
        f"comparing the catalogue with what is live {place.table}: it would bill more than "
        f"IMGSEARCH_BIGQUERY_MAX_BYTES_BILLED ({said})"
    )


def test_what_passes_is_tried_again(place: BigQueryPlace) -> None:
    place.gate.answer(LOOK, 503, "backendError", "Error encountered during execution. Retrying may help.")
    assert place.warehouse().stamp()


def test_without_credentials_the_mend_is_named(place: BigQueryPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: BigQueryClients) -> bigquery.Client:
        raise auth.DefaultCredentialsError("Your default credentials were not found.")

    monkeypatch.setattr(module.BigQueryClients, "client", none)
    with pytest.raises(BadSettings) as refused:
        place.warehouse().stamp()
    assert str(refused.value) == (
        f"looking at {place.table}: there are no Google credentials that are taken; on a pod bind its "
        "service account (workload identity), elsewhere run: gcloud auth application-default login (Your "
        "default credentials were not found.)"
    )


def run(assets: list[Any], place: BigQueryPlace, monkeypatch: pytest.MonkeyPatch, home: Path) -> Any:
    for name, value in {
        "HOME": str(home),
        "CATALOGUE": f"bigquery:{place.table}",
        "BIGQUERY_ENDPOINT": place.gate.url,
        "BIGQUERY_STORAGE_ENDPOINT": place.emulator.storage,
        "BIGQUERY_WORK_DATASET": place.work,
    }.items():
        monkeypatch.setenv(f"IMGSEARCH_{name}", value)
    resources = resources_of(read_environment())
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(assets, resources=resources, instance=instance, raise_on_error=False)


ASSETS = [catalogue.products, catalogue.product_snapshot, catalogue.catalogue_diff]


def test_the_assets_say_what_they_cost(
    place: BigQueryPlace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = run(ASSETS, place, monkeypatch, tmp_path)
    assert result.success
    for name in ("product_snapshot", "catalogue_diff"):
        (event,) = result.asset_materializations_for_node(name)
        assert event.metadata["bytes_billed"].value == 0
        assert event.metadata["dagster/row_count"].value == 2
    assert place.gate.jobs()[0]["labels"]["environment"] == "local"


def test_a_refusal_leaves_nothing_half_published(
    place: BigQueryPlace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place.gate.answer(JOB, 403, "accessDenied", "Access Denied")
    assert not run(ASSETS, place, monkeypatch, tmp_path).success
    kept = [it.name for it in tmp_path.rglob("*") if it.is_file()]
    assert kept == [".snapshots.lock~"], "a lock that nobody holds"
    assert not place.work_tables()
