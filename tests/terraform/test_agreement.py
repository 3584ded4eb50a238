"""What is made is what the manifests ask for, by name: the example is the installation that they describe."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from imgsearch_assets.settings import PipelineSettings
from tests.k8s.rendering import K8S, OVERLAYS, PROCESSES, Json, Objects, rendered
from tests.k8s.test_rendering import VERSION
from tests.terraform.planning import Plan

_VALUES = yaml.safe_load((K8S / "dagster/values.place.yaml").read_text())
_IDENTITY = "iam.gke.io/gcp-service-account"


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> Objects:
    return Objects(request.param)


def test_the_output_is_what_an_overlay_is_told(plan: Plan) -> None:
    for overlay in OVERLAYS:
        (place,) = yaml.safe_load_all((K8S / f"overlays/{overlay}/place.yaml").read_text())
        assert plan.outputs["place"][overlay] == place["data"]


def test_the_load_balancer_finds_what_it_names(plan: Plan, objects: Objects) -> None:
    gateway = objects.one("Gateway", "public")
    named = {
        "google_compute_global_address": gateway["spec"]["addresses"][0]["value"],
        "google_certificate_manager_certificate_map": gateway["metadata"]["annotations"][
            "networking.gke.io/certmap"
        ],
        "google_compute_ssl_policy": objects.one("GCPGatewayPolicy", "public")["spec"]["default"][
            "sslPolicy"
        ],
        "google_compute_security_policy": objects.one("GCPBackendPolicy", "api")["spec"]["default"][
            "securityPolicy"
        ],
    }
    for kind, name in named.items():
        assert name in [each["values"]["name"] for each in plan.all(kind)], kind
    (host,) = {name for one in objects.of("HTTPRoute") for name in one["spec"]["hostnames"]}
    assert plan.each("google_dns_record_set", "host")[objects.overlay]["name"] == f"{host}."
    entry = plan.each("google_certificate_manager_certificate_map_entry", "this")[objects.overlay]
    assert (entry["hostname"], entry["map"]) == (host, f"imgsearch-{objects.overlay}")
    certificate = plan.each("google_certificate_manager_certificate", "this")[objects.overlay]
    assert certificate["managed"][0]["domains"] == [host]


def test_every_account_of_a_pod_is_bound_to_its_own(plan: Plan) -> None:
    wanted = {}
    for overlay in OVERLAYS:
        for name in PROCESSES:
            one = Objects(overlay).one("ServiceAccount", name)["metadata"]
            wanted[f"{one['namespace']}/{name}"] = one["annotations"][_IDENTITY]
    dagster = yaml.safe_load((K8S / "dagster/values.yaml").read_text())["serviceAccount"]["name"]
    namespace = yaml.safe_load((K8S / "dagster/kustomization.yaml").read_text())["namespace"]
    wanted[f"{namespace}/{dagster}"] = _VALUES["serviceAccount"]["annotations"][_IDENTITY]
    bound = plan.each("google_service_account_iam_member", "pods")
    assert {each["member"] for each in bound.values()} == {
        f"serviceAccount:imgsearch.svc.id.goog[{name}]" for name in wanted
    }
    assert {each["role"] for each in bound.values()} == {"roles/iam.workloadIdentityUser"}
    accounts = plan.each("google_service_account", "this")
    for name, email in wanted.items():
        assert accounts[name.partition("/")[2]]["email"] == email


def test_the_cluster_knows_who_delivers(plan: Plan) -> None:
    told = {
        subject["name"]
        for one in rendered("cluster")
        if one["kind"].endswith("Binding")
        for subject in one["subjects"]
    }
    assert told == set(plan.outputs["delivery"]["DELIVERER"].values())


def test_the_workflows_ask_for_what_there_is(plan: Plan) -> None:
    asked = {
        name
        for file in (K8S.parent / ".github/workflows").glob("*.yml")
        for name in re.findall(r"vars\.(\w+)", file.read_text())
    }
    by_hand = {"BASE", "TORCH_INDEX", "TORCH_INDEX_GPU", "PIPELINE_DEPLOYMENT"}
    assert asked == plan.outputs["delivery"].keys() | by_hand


def test_images_and_stores_are_where_they_are_looked_for(plan: Plan, objects: Objects) -> None:
    for workload in objects.workloads:
        for container in workload.containers:
            assert container["image"].startswith(f"{plan.outputs['images']}/")
    repository = _VALUES["dagsterWebserver"]["image"]["repository"]
    assert repository.startswith(f"{plan.outputs['images']}/")
    (location,) = _VALUES["dagster-user-deployments"]["deployments"]
    told = {each["name"]: each["value"] for each in location["env"]}
    assert told["IMGSEARCH_OBJECTS"] == plan.outputs["objects"]
    assert objects.environment("search")["IMGSEARCH_OBJECTS"] == plan.outputs["objects"]
    logs = _VALUES["computeLogManager"]["config"]["gcsComputeLogManager"]["bucket"]
    assert plan.one("google_storage_bucket", "dagster_logs")["name"] == logs
    assert plan.one("google_sql_database", "dagster")["name"] == _VALUES["postgresql"]["postgresqlDatabase"]
    assert plan.one("google_bigquery_dataset", "work")["dataset_id"] == _default("bigquery_work_dataset")


def test_the_api_may_write_where_it_has_the_calls_for_it(plan: Plan, objects: Objects) -> None:
    may = plan.each("google_storage_bucket_iam_member", "objects")["api"]["role"]
    assert (may == "roles/storage.objectUser") == ("IMGSEARCH_ADMIN_PORT" in objects.environment("api"))


def test_the_database_and_redis_are_in_ranges_of_ours(plan: Plan) -> None:
    ranges = plan.each("google_compute_global_address", "private")
    found = {name: f"{each['address']}/{each['prefix_length']}" for name, each in ranges.items()}
    assert found.keys() == {"redis-staging", "redis-production", "postgres"}
    for overlay in OVERLAYS:
        policy = Objects(overlay).one("NetworkPolicy", "to-redis")["spec"]["egress"][0]
        assert policy["to"] == [{"ipBlock": {"cidr": found[f"redis-{overlay}"]}}]
        instance = plan.each("google_redis_instance", "this")[overlay]
        assert instance["reserved_ip_range"] == ranges[f"redis-{overlay}"]["name"]
    address = _VALUES["postgresql"]["postgresqlHost"]
    assert f"{address.rpartition('.')[0]}.0/24" == found["postgres"]


def test_google_is_reached_where_the_policies_let_pods_go(plan: Plan, objects: Objects) -> None:
    allowed = [
        to["ipBlock"]["cidr"]
        for rule in objects.one("NetworkPolicy", "every-process")["spec"]["egress"]
        for to in rule["to"]
        if "ipBlock" in to
    ]
    assert "199.36.153.8/30" in allowed
    for each in plan.each("google_dns_record_set", "private_google").values():
        assert each["rrdatas"] == [f"199.36.153.{last}" for last in range(8, 12)]
    aliases = plan.each("google_dns_record_set", "google")
    assert {name: each["rrdatas"] for name, each in aliases.items()} == {
        "*.googleapis.com.": ["private.googleapis.com."],
        "*.pkg.dev.": ["pkg.dev."],
    }


def test_the_cluster_is_of_the_version_that_the_manifests_are_held_to(plan: Plan) -> None:
    assert VERSION is not None
    assert plan.one("google_container_cluster", "this")["min_master_version"] == VERSION[1]


def test_the_nat_is_reckoned_from_what_a_download_does(plan: Plan) -> None:
    nat = plan.one("google_compute_router_nat", "this")
    needed = _default("download_connections") + 200 * nat["tcp_time_wait_timeout_sec"]
    assert nat["max_ports_per_vm"] // 2 < needed <= nat["max_ports_per_vm"]
    assert (nat["enable_dynamic_port_allocation"], nat["enable_endpoint_independent_mapping"]) == (
        True,
        False,
    )
    for bound in ("min_ports_per_vm", "max_ports_per_vm"):
        assert nat[bound].bit_count() == 1, "Google takes powers of two"
    assert nat["min_ports_per_vm"] < nat["max_ports_per_vm"]
    nodes = sum(pool["autoscaling"][0]["total_max_node_count"] for pool in _pools(plan))
    addresses = len(plan.each("google_compute_address", "nat"))
    assert nodes * nat["min_ports_per_vm"] + nat["max_ports_per_vm"] <= addresses * (65536 - 1024)
    assert addresses >= 2, "one has to be able to go"


def _pools(plan: Plan) -> Iterator[Json]:
    return iter(plan.each("google_container_node_pool", "this").values())


def _default(setting: str) -> Any:
    return PipelineSettings.model_fields[setting].default
