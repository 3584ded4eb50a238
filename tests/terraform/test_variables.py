"""What is told wrongly is refused before anything is made, in a sentence that says what is right."""

import json
from typing import Any

import pytest

from tests.terraform.planning import Installation, Plan

_PLACE = {"redis_gb": 1, "redis_copies": False, "requests_per_minute": 60}
_BOTH = {
    "staging": {"host": "search.staging.example.com", **_PLACE},
    "production": {"host": "search.example.com", **_PLACE},
}


def _of_production(**changed: Any) -> dict[str, Any]:
    return {**_BOTH, "production": {**_BOTH["production"], **changed}}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("project", "Our Shop", "project is the ID, not the name or the number"),
        ("project", "123456789012", "project is the ID, not the name or the number"),
        ("region", "europe-west1-b", "region is a region such as europe-west1, not a zone"),
        ("region", "EU", "region is a region such as europe-west1, not a zone"),
        ("gpu_zones", ["us-central1-a"], "gpu_zones names one zone or more of region"),
        ("gpu_zones", [], "gpu_zones names one zone or more of region"),
        ("domain", "https://example.com", "domain is a name such as example.com"),
        ("environments", {"production": _BOTH["production"]}, "environments are staging and production"),
        ("environments", _of_production(host="search.other.com"), "The host of an environment is in domain."),
        ("environments", _of_production(redis_gb=0), "redis_gb is 1 to 300."),
        ("environments", _of_production(exempt=["0.0.0.0/0"]), "never the whole internet"),
        (
            "environments",
            _of_production(exempt=["our office"]),
            "exempt holds ranges such as 198.51.100.7/32",
        ),
        ("environments", _of_production(exempt=["192.0.2.1/32"] * 9), "exempt holds 8 ranges at most"),
        ("network", "10.60.0.0/16", "network is a /15 and begins at its first address"),
        ("network", "10.61.0.0/15", "network is a /15 and begins at its first address"),
        ("pools", {}, "pools are api, search, gpu and dagster"),
        ("catalogue_dataset", "shop.catalogue", "catalogue_dataset is a dataset's own name"),
        ("catalogue_writers", ["allUsers"], "catalogue_writers are members of IAM"),
        ("alert_emails", [], "alert_emails names one address or more"),
        ("billing_account", "ours", "billing_account is of the form 012345-6789AB-CDEF01"),
        ("monthly_budget", 0, "monthly_budget is a whole amount above nothing."),
    ],
)
def test_what_is_wrong_is_refused(installation: Installation, name: str, value: Any, says: str) -> None:
    said = installation.refused(**{name: value})
    assert said.status == 1
    assert said.words.count("Error:") == 1, said.text
    assert says in said.words
    assert json.dumps(f"var.{name}")[1:-1] in said.words or f'variable "{name}"' in said.words


def test_more_than_an_address_of_the_nat_has_is_refused(installation: Installation) -> None:
    said = installation.refused(downloads={"connections": 64, "pictures_a_second": 5000})
    assert said.status == 1
    assert "One node would need 150064 ports, and an address has 64512" in said.words


def test_the_example_is_right(plan: Plan) -> None:
    assert plan.outputs["objects"]
