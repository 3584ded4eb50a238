"""What is the cluster's own. The workflows may send an overlay, wait for it, and promote, and no more."""

import re
from typing import Any

import kubernetes_validate
import pytest

from tests.k8s.rendering import OVERLAYS, Json, Objects, own, rendered
from tests.k8s.test_rendering import VERSION


@pytest.fixture(scope="module")
def cluster() -> tuple[Json, ...]:
    return rendered("cluster")


def test_kubernetes_takes_every_object(cluster: tuple[Json, ...]) -> None:
    assert VERSION is not None
    for one in cluster:
        kubernetes_validate.validate(one, VERSION[1], strict=True)


def test_an_overlay_is_sent_whole_and_nothing_beside_it() -> None:
    sent = {_resource(one) for name in OVERLAYS for one in Objects(name).all}
    allowed = dict(_allowed(own("ClusterRole")["imgsearch-roll-out"]))
    assert allowed.keys() == sent
    for resource, verbs in allowed.items():
        waited_for = {"list", "watch"} if resource[0] == "apps" else set()
        assert verbs == {"get", "create", "patch"} | waited_for


def test_every_namespace_is_restricted() -> None:
    namespaces = own("Namespace")
    assert namespaces.keys() == {"imgsearch-staging", "imgsearch-production", "imgsearch-dagster"}
    for one in namespaces.values():
        labels = one["metadata"]["labels"]
        modes = {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "warn", "audit")}
        assert modes == {"restricted"}


def test_each_delivers_to_its_own_namespace(cluster: tuple[Json, ...]) -> None:
    may = {
        (one["metadata"]["namespace"], one["roleRef"]["name"], _short(subject))
        for one in cluster
        if one["kind"] == "RoleBinding"
        for subject in one["subjects"]
    }
    assert may == {
        ("imgsearch-staging", "imgsearch-roll-out", "staging"),
        ("imgsearch-production", "imgsearch-roll-out", "production"),
        ("imgsearch-dagster", "promotion", "production"),
    }
    assert not [one for one in cluster if one["kind"] == "ClusterRoleBinding"]


def test_a_promotion_is_one_command_in_the_pipeline() -> None:
    assert dict(_allowed(own("Role")["promotion"])) == {
        ("apps", "deployments"): {"get"},
        ("", "pods"): {"get", "list"},
        ("", "pods/exec"): {"get", "create"},
    }


def _allowed(role: Json) -> Any:
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                yield (group, resource), set(rule["verbs"])


def _resource(one: Json) -> tuple[str, str]:
    """Its group and the name that rights go by."""
    group, _, version = one["apiVersion"].rpartition("/")
    assert version, one
    plural = re.sub("cy$", "cie", one["kind"].lower())
    return group, f"{plural}s"


def _short(subject: Json) -> str:
    assert (subject["kind"], subject["apiGroup"]) == ("User", "rbac.authorization.k8s.io")
    return str(subject["name"].partition("@")[0].removeprefix("imgsearch-deliverer-"))
