"""Who may do what: the whole list, so that a right more is a change of this file."""

import re
from collections.abc import Iterator

from tests.terraform.planning import Plan

_ALL = {
    ("api", "bucket imgsearch-objects", "roles/storage.objectViewer"),
    ("search", "bucket imgsearch-objects", "roles/storage.objectViewer"),
    ("detect", "bucket imgsearch-objects", "roles/storage.objectViewer"),
    ("embed", "bucket imgsearch-objects", "roles/storage.objectViewer"),
    ("probe", "bucket imgsearch-objects", "roles/storage.objectViewer"),
    ("stock-feed", "dataset_id catalogue", "roles/bigquery.dataViewer"),
    ("stock-feed", "project imgsearch", "roles/bigquery.jobUser"),
    ("stock-feed", "project imgsearch", "roles/bigquery.readSessionUser"),
    ("dagster", "bucket imgsearch-objects", "roles/storage.objectUser"),
    ("dagster", "bucket imgsearch-dagster-logs", "roles/storage.objectUser"),
    ("dagster", "dataset_id catalogue", "roles/bigquery.dataViewer"),
    ("dagster", "dataset_id imgsearch", "roles/bigquery.dataEditor"),
    ("dagster", "project imgsearch", "roles/bigquery.jobUser"),
    ("dagster", "project imgsearch", "roles/bigquery.readSessionUser"),
    ("dagster", "subscription imgsearch-catalogue", "roles/pubsub.subscriber"),
    ("nodes", "project imgsearch", "roles/container.defaultNodeServiceAccount"),
    ("nodes", "repository imgsearch", "roles/artifactregistry.reader"),
    ("builder", "repository imgsearch", "roles/artifactregistry.writer"),
    ("deliverer-staging", "repository imgsearch", "roles/artifactregistry.reader"),
    ("deliverer-staging", "project imgsearch", "projects/imgsearch/roles/imgsearchClusterDoor"),
    ("deliverer-staging", "bucket imgsearch-objects", "roles/storage.objectViewer"),
    ("deliverer-staging", "deliveries/staging.json", "roles/storage.objectUser"),
    ("deliverer-production", "repository imgsearch", "roles/artifactregistry.reader"),
    ("deliverer-production", "project imgsearch", "projects/imgsearch/roles/imgsearchClusterDoor"),
    ("deliverer-production", "bucket imgsearch-objects", "roles/storage.objectViewer"),
}
_OF_GOOGLE = {
    ("pubsub", "topic imgsearch-catalogue-dead", "roles/pubsub.publisher"),
    ("pubsub", "subscription imgsearch-catalogue", "roles/pubsub.subscriber"),
    ("logging", "bucket imgsearch-records", "roles/storage.objectCreator"),
    ("custom-metrics-stackdriver-adapter", "project imgsearch", "roles/monitoring.viewer"),
}
_ON = ("bucket", "dataset_id", "subscription", "topic", "repository", "project")


def test_nobody_may_more_than_is_written_here(plan: Plan) -> None:
    given = list(_given(plan))
    assert set(given) == _ALL | _OF_GOOGLE
    assert len(given) == len(set(given))


def test_no_role_is_one_of_everything(plan: Plan) -> None:
    roles = {role for _, _, role in _given(plan)}
    assert roles.isdisjoint({"roles/owner", "roles/editor", "roles/viewer"})
    assert not [role for role in roles if role.endswith(("admin", "Admin"))]


def test_no_grant_takes_others_away(plan: Plan) -> None:
    """`..._iam_binding` and `..._iam_policy` own a role or all of them, and remove what others gave."""
    assert not [each for each in plan.all() if each["type"].endswith(("_iam_binding", "_iam_policy"))]


def test_no_key_of_an_account_is_made(plan: Plan) -> None:
    assert not [each for each in plan.all() if "key" in each["type"]]


def test_a_job_of_github_is_one_account_by_its_branch_and_environment(plan: Plan) -> None:
    pool = "projects/123456789012/locations/global/workloadIdentityPools/github"
    provider = plan.one("google_iam_workload_identity_pool_provider", "github")
    ends = {
        "builder": ("refs/heads/main", ":ref:refs/heads/main"),
        "deliverer-staging": ("refs/heads/main", ":environment:staging"),
        "deliverer-production": ("refs/heads/release", ":environment:production"),
    }
    read = re.findall(
        r'assertion\.ref == "(\S+)" && assertion\.sub\.endsWith\("(\S+)"\) \? "(\S+)" : ',
        provider["attribute_mapping"]["attribute.job"],
    )
    assert {name: (ref, end) for ref, end, name in read} == ends
    assert provider["attribute_mapping"]["attribute.job"].endswith(' : "none"')
    asked = 'assertion.repository_id == "123456789" && attribute.job != "none"'
    assert provider["attribute_condition"] == asked
    assert provider["oidc"][0]["issuer_uri"] == "https://token.actions.githubusercontent.com"
    bound = plan.each("google_service_account_iam_member", "jobs")
    members = {f"principalSet://iam.googleapis.com/{pool}/attribute.job/{name}" for name in ends}
    assert {each["member"] for each in bound.values()} == members
    assert plan.outputs["delivery"]["IDENTITY_PROVIDER"] == f"{pool}/providers/github"


def test_the_clusters_door_is_all_that_its_role_opens(plan: Plan) -> None:
    role = plan.one("google_project_iam_custom_role", "door")
    assert set(role["permissions"]) == {"container.clusters.get", "container.clusters.connect"}


def test_nodes_and_pods_use_these_accounts(plan: Plan) -> None:
    email = plan.each("google_service_account", "this")["nodes"]["email"]
    for pool in plan.each("google_container_node_pool", "this").values():
        (node,) = pool["node_config"]
        assert node["service_account"] == email
        assert node["workload_metadata_config"] == [{"mode": "GKE_METADATA"}], "pods would be the node"
    cluster = plan.one("google_container_cluster", "this")
    assert cluster["workload_identity_config"] == [{"workload_pool": "imgsearch.svc.id.goog"}]


def _given(plan: Plan) -> Iterator[tuple[str, str, str]]:
    for each in plan.all():
        if not each["type"].endswith("_iam_member") or each["type"] == "google_service_account_iam_member":
            continue
        values = each["values"]
        on = next(f"{name} {values[name]}" for name in _ON if values.get(name))
        for only in values.get("condition") or ():
            told = re.fullmatch(
                r'resource\.name == "projects/_/buckets/\S+?/objects/(\S+)"', only["expression"]
            )
            assert told is not None, only
            on = told[1]
        # Google says itself as whom it writes logs.
        member = values.get("member", "serviceAccount:logging@gcp-sa-logging")
        yield _short(member), on, values["role"]


def _short(member: str) -> str:
    name = member.partition(":")[2].partition("@")[0]
    if member.startswith("principal://"):
        return member.rpartition("/")[2]
    if "gcp-sa-" in member:
        return member.partition("gcp-sa-")[2].partition(".")[0]
    return name.removeprefix("imgsearch-")
