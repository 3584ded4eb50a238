"""The workflows may send an overlay, wait for it, and promote: all of that, and no more."""

from typing import Any

import kubernetes_validate
import pytest

from tests.k8s.rendering import OVERLAYS, Json, Objects, rendered
from tests.k8s.test_rendering import VERSION

# Kinds of the cluster's own, which a deliverer only compares: kubectl sends nothing where nothing changed.
OF_THE_CLUSTER = {"Namespace", "PriorityClass"}
# Of a plural that is not the kind with an s.
_ENDS = {"Policy": "policies", "Class": "classes"}


@pytest.fixture(scope="module")
def access() -> tuple[Json, ...]:
    return rendered("access")


def test_kubernetes_takes_every_object(access: tuple[Json, ...]) -> None:
    assert VERSION is not None
    for one in access:
        kubernetes_validate.validate(one, VERSION[1], strict=True)


def test_an_overlay_is_sent_whole_and_nothing_beside_it(access: tuple[Json, ...]) -> None:
    sent = {
        _resource(one) for name in OVERLAYS for one in Objects(name).all if one["kind"] not in OF_THE_CLUSTER
    }
    allowed = dict(_allowed(_one(access, "ClusterRole", "imgsearch-roll-out")))
    assert allowed.keys() == sent
    for resource, verbs in allowed.items():
        waited_for = {"list", "watch"} if resource[0] == "apps" else set()
        assert verbs == {"get", "create", "patch"} | waited_for


def test_what_is_the_clusters_own_is_compared_only(access: tuple[Json, ...]) -> None:
    every = {
        _resource(one) for name in OVERLAYS for one in Objects(name).all if one["kind"] in OF_THE_CLUSTER
    }
    role = _one(access, "ClusterRole", "imgsearch-roll-out-compares")
    assert dict(_allowed(role)) == {resource: {"get"} for resource in every}
    (names,) = (rule["resourceNames"] for rule in role["rules"] if rule["resources"] == ["namespaces"])
    assert set(names) == {f"imgsearch-{name}" for name in OVERLAYS}


def test_each_delivers_to_its_own_namespace(access: tuple[Json, ...]) -> None:
    may = {
        (one["metadata"]["namespace"], one["roleRef"]["name"], _short(subject))
        for one in access
        if one["kind"] == "RoleBinding"
        for subject in one["subjects"]
    }
    assert may == {
        ("imgsearch-staging", "imgsearch-roll-out", "staging"),
        ("imgsearch-production", "imgsearch-roll-out", "production"),
        ("imgsearch-dagster", "promotion", "production"),
    }
    (everywhere,) = (one for one in access if one["kind"] == "ClusterRoleBinding")
    assert everywhere["roleRef"]["name"] == "imgsearch-roll-out-compares"


def test_a_promotion_is_one_command_in_the_pipeline(access: tuple[Json, ...]) -> None:
    assert dict(_allowed(_one(access, "Role", "promotion"))) == {
        ("apps", "deployments"): {"get"},
        ("", "pods"): {"get", "list"},
        ("", "pods/exec"): {"get", "create"},
    }


def _one(access: tuple[Json, ...], kind: str, name: str) -> Json:
    (found,) = (one for one in access if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


def _allowed(role: Json) -> Any:
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                yield (group, resource), set(rule["verbs"])


def _resource(one: Json) -> tuple[str, str]:
    """Its group and the name that rights go by."""
    group, _, version = one["apiVersion"].rpartition("/")
    assert version, one
    for end, plural in _ENDS.items():
        if one["kind"].endswith(end):
            return group, f"{one['kind'].removesuffix(end)}{plural}".lower()
    return group, f"{one['kind']}s".lower()


def _short(subject: Json) -> str:
    assert (subject["kind"], subject["apiGroup"]) == ("User", "rbac.authorization.k8s.io")
    return str(subject["name"].partition("@")[0].removeprefix("imgsearch-deliverer-"))
