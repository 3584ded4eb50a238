"""What the internet can reach, and what of it is held back."""

from collections.abc import Iterator
from typing import Any

from tests.k8s.rendering import OVERLAYS
from tests.terraform.planning import Plan


def test_no_node_has_a_public_address(plan: Plan) -> None:
    cluster = plan.one("google_container_cluster", "this")
    assert cluster["private_cluster_config"][0]["enable_private_nodes"] is True
    for pool in plan.each("google_container_node_pool", "this").values():
        assert pool["network_config"][0]["enable_private_nodes"] is True
    kinds = {each["type"] for each in plan.all()}
    assert "google_compute_instance" not in kinds
    assert "google_compute_firewall" not in kinds, (
        "Google's default lets nobody in, and GKE opens what it needs"
    )


def test_the_control_plane_is_reached_by_name_and_rights_alone(plan: Plan) -> None:
    (endpoints,) = plan.one("google_container_cluster", "this")["control_plane_endpoints_config"]
    assert endpoints["ip_endpoints_config"][0]["enabled"] is False
    assert endpoints["dns_endpoint_config"][0]["allow_external_traffic"] is True


def test_what_leaves_a_node_is_encrypted_and_policies_hold(plan: Plan) -> None:
    cluster = plan.one("google_container_cluster", "this")
    assert cluster["in_transit_encryption_config"] == "IN_TRANSIT_ENCRYPTION_INTER_NODE_TRANSPARENT"
    assert cluster["datapath_provider"] == "ADVANCED_DATAPATH"
    assert cluster["monitoring_config"][0]["managed_prometheus"][0]["enabled"] is True
    assert cluster["gateway_api_config"] == [{"channel": "CHANNEL_STANDARD"}]
    # The policies name kube-dns and the cache of the node.
    assert cluster["dns_config"][0]["cluster_dns"] == "PLATFORM_DEFAULT"
    assert cluster["addons_config"][0]["dns_cache_config"] == [{"enabled": True}]


def test_the_whole_internet_is_named_where_the_api_is_public_and_nowhere_else(plan: Plan) -> None:
    named = {}
    for each in plan.all():
        found = [text for text in _texts(each["values"]) if text in ("*", "::/0") or text.endswith("/0")]
        if found:
            named[each["address"]] = found
    assert named == {f'google_compute_security_policy.edge["{overlay}"]': ["*", "*"] for overlay in OVERLAYS}


def test_one_address_may_ask_so_often_and_the_next_is_told_429(plan: Plan) -> None:
    for overlay, wanted in (("staging", 600), ("production", 1200)):
        policy = plan.each("google_compute_security_policy", "edge")[overlay]
        by_priority = {rule["priority"]: rule for rule in policy["rule"]}
        assert {priority: rule["action"] for priority, rule in by_priority.items()} == {
            100: "allow",
            1000: "throttle",
            2147483647: "allow",
        }
        (limit,) = by_priority[1000]["rate_limit_options"]
        assert (limit["exceed_action"], limit["enforce_on_key"]) == ("deny(429)", "IP")
        assert limit["rate_limit_threshold"] == [{"count": wanted, "interval_sec": 60}]
        assert not any(rule.get("preview") for rule in policy["rule"])


def test_old_tls_is_not_spoken(plan: Plan) -> None:
    for policy in plan.each("google_compute_ssl_policy", "edge").values():
        assert (policy["profile"], policy["min_tls_version"]) == ("MODERN", "TLS_1_2")
    assert plan.one("google_dns_managed_zone", "public")["dnssec_config"][0]["state"] == "on"


def test_ways_out_have_fixed_addresses(plan: Plan) -> None:
    nat = plan.one("google_compute_router_nat", "this")
    assert nat["nat_ip_allocate_option"] == "MANUAL_ONLY"
    assert nat["log_config"] == [{"enable": True, "filter": "ERRORS_ONLY"}]
    assert plan.one("google_compute_subnetwork", "nodes")["private_ip_google_access"] is True


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for below in value.values() if isinstance(value, dict) else value:
            yield from _texts(below)
    elif isinstance(value, str):
        yield value
