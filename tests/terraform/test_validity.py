"""Terraform takes it: written as Terraform writes, valid by the provider's own schema, and planned."""

import json
import re
from pathlib import Path

import pytest

from tests.terraform.planning import Folder, Installation, Plan
from tests.terraform.take_schema import ADDRESS, SCHEMA, TERRAFORM, used

_SCHEMA = json.loads(SCHEMA.read_text())


def test_it_is_written_as_terraform_writes() -> None:
    said = Folder(TERRAFORM, {}).terraform("fmt", "-check", "-diff", "-recursive")
    assert (said.status, said.text) == (0, "")


def test_the_provider_takes_every_argument(installation: Installation) -> None:
    said = installation.terraform("validate")
    assert said.status == 0, said.text


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("auth_enabled ", "auth_on ", 'An argument named "auth_on" is not expected here.'),
        ("persistence_config {", "persistence {", 'Blocks of type "persistence" are not expected here.'),
        (
            "= each.value.redis_gb",
            '= "much"',
            'Inappropriate value for attribute "memory_size_gb": a number is required',
        ),
        ("memory_size_gb", "replica_count", 'The argument "memory_size_gb" is required'),
        (
            'each.key}"',
            'each.key}-${google_compute_network.this.mtu_size}"',
            'no argument, nested block, or exported attribute named "mtu_size"',
        ),
    ],
    ids=["argument", "block", "type", "required", "exported"],
)
def test_what_the_provider_does_not_take_is_found(
    installation: Installation, before: str, after: str, says: str
) -> None:
    """Or the test above would show nothing."""
    file = installation.path / "redis.tf"
    written = file.read_text()
    assert before in written
    try:
        file.write_text(written.replace(before, after, 1))
        said = installation.terraform("validate")
    finally:
        file.write_text(written)
    assert said.status == 1
    assert says in said.words


def test_the_schema_is_of_what_is_used_and_of_the_version_that_is_asked_for() -> None:
    of_google = _SCHEMA["provider_schemas"][ADDRESS]
    have = {("resource", name) for name in of_google["resource_schemas"]}
    have |= {("data", name) for name in of_google["data_source_schemas"]}
    assert have == set(used()), "run tests/terraform/take_schema.py again"
    asked = re.search(r'version = "~> (\d+)\.(\d+)"', (TERRAFORM / "versions.tf").read_text())
    assert asked is not None
    assert _SCHEMA["provider_versions"][ADDRESS].split(".")[:2] == [asked[1], asked[2]]


def test_the_example_is_planned(plan: Plan) -> None:
    kinds = {kind for which, kind in used() if which == "resource"}
    assert {each["type"] for each in plan.all()} | {"google_bigquery_dataset_iam_member"} == kinds


def test_an_installation_with_everything_set_is_planned(installation: Installation) -> None:
    loader = "serviceAccount:loader@shop.iam.gserviceaccount.com"
    other = installation.plan(catalogue_writers=[loader], api_admin=True, network="172.20.0.0/15")
    assert other.outputs["place"]["production"]["redis"] == "172.20.0.16/28"
    roles = [each["role"] for each in other.each("google_storage_bucket_iam_member", "objects").values()]
    assert sorted(roles) == ["roles/storage.objectUser"] * 2 + ["roles/storage.objectViewer"] * 4
    assert list(other.each("google_pubsub_topic_iam_member", "writers")) == [loader]


def test_the_ports_of_the_nat_are_reckoned_right() -> None:
    said = Folder(TERRAFORM / "modules" / "nat-budget", {}).terraform("test")
    assert said.status == 0, said.text
    runs = re.findall(
        r'^run "', (TERRAFORM / "modules/nat-budget/tests/budget.tftest.hcl").read_text(), re.MULTILINE
    )
    assert f"{len(runs)} passed, 0 failed" in said.text


def test_no_secret_is_written_down() -> None:
    written = "".join(path.read_text() for path in Path(TERRAFORM).rglob("*.tf*"))
    assert not re.search(r"auth_string|google_sql_user|password\s*=|secret_data|private_key", written)


def test_the_readme_names_every_file_and_says_where_every_output_goes(plan: Plan) -> None:
    readme = (TERRAFORM / "README.md").read_text()
    files = {path.name for path in TERRAFORM.glob("*.tf")}
    assert {name for name in files if f"`{name}`" not in readme} == {"versions.tf"}
    assert {
        name for name in plan.outputs if f"`{name}`" not in readme and f"output {name}`" not in readme
    } == set()
