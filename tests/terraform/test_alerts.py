"""What Cloud Monitoring tells: PromQL, of figures that the documents name, each with what to do."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from imgsearch_assets.alerting.alerts import RUNBOOK
from tests.k8s.rendering import Objects
from tests.monitoring.conftest import Tool, promtool
from tests.monitoring.test_metrics import foreign
from tests.monitoring.test_rules import SECTIONS
from tests.terraform.planning import Plan

__all__ = ["promtool"]  # a fixture


@pytest.fixture
def alerts(plan: Plan) -> dict[str, Any]:
    return plan.each("google_monitoring_alert_policy", "this")


def _asked(alert: Any) -> dict[str, str]:
    (condition,) = alert["conditions"]
    (found,) = condition["condition_prometheus_query_language"]
    return dict(found)


def test_prometheus_takes_every_query(alerts: dict[str, Any], promtool: Tool, tmp_path: Path) -> None:
    rules = [{"alert": name, "expr": _asked(alert)["query"]} for name, alert in alerts.items()]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "cloud", "rules": rules}]}))
    assert f"SUCCESS: {len(alerts)} rules found" in promtool("check", "rules", file)


_URL = 'monitored_resource="uptime_url", host="search.example.com"'
_PASSED = "monitoring_googleapis_com:uptime_check_check_passed{" + _URL + ', checker_location="%s"}'
_WAITING = "pubsub_googleapis_com:subscription_%s{subscription_id="
# Of each alert: what is well for hours, and what has it told.
_CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "OutsideCannotReach": (
        {_PASSED % "usa": "0x200", _PASSED % "eur": "1x200", _PASSED % "apac": "1x200"},
        {_PASSED % "usa": "0x200", _PASSED % "eur": "0x200", _PASSED % "apac": "1x200"},
    ),
    "CertificateEnds": (
        {f"monitoring_googleapis_com:uptime_check_time_until_ssl_cert_expires{{{_URL}}}": "30x200"},
        {f"monitoring_googleapis_com:uptime_check_time_until_ssl_cert_expires{{{_URL}}}": "13x200"},
    ),
    "FiguresStopped": (
        {'imgsearch_api_requests_in_work{namespace="imgsearch-production"}': "0x200"},
        {'imgsearch_api_requests_in_work{namespace="imgsearch-staging"}': "0x200"},
    ),
    "RedisNoRoom": (
        {'redis_googleapis_com:stats_memory_usage_ratio{instance_id="r"}': "0.85x200"},
        {'redis_googleapis_com:stats_memory_usage_ratio{instance_id="r"}': "0.95x200"},
    ),
    "NatPortsUsedUp": (
        {'router_googleapis_com:nat_nat_allocation_failed{gateway_name="imgsearch"}': "0x200"},
        {'router_googleapis_com:nat_nat_allocation_failed{gateway_name="imgsearch"}': "1x200"},
    ),
    "DeadLetters": (
        {_WAITING % "num_undelivered_messages" + '"imgsearch-catalogue"}': "9x200"},
        {_WAITING % "num_undelivered_messages" + '"imgsearch-catalogue-dead"}': "1x200"},
    ),
    "MessagesWait": (
        {_WAITING % "oldest_unacked_message_age" + '"imgsearch-catalogue"}': "600x200"},
        {_WAITING % "oldest_unacked_message_age" + '"imgsearch-catalogue"}': "0+60x200"},
    ),
    "DagsterDatabaseFull": (
        {'cloudsql_googleapis_com:database_disk_utilization{database_id="d"}': "0.5x200"},
        {'cloudsql_googleapis_com:database_disk_utilization{database_id="d"}': "0.95x200"},
    ),
}


@pytest.mark.parametrize("told", [False, True], ids=["well", "told"])
@pytest.mark.parametrize("name", _CASES)
def test_it_is_told_when_it_should_be_and_not_otherwise(
    alerts: dict[str, Any], promtool: Tool, tmp_path: Path, name: str, told: bool
) -> None:
    assert _CASES.keys() == alerts.keys()
    asked = _asked(alerts[name])
    rule = {"alert": name, "expr": asked["query"], "for": asked["duration"]}
    groups = {"groups": [{"name": "cloud", "rules": [rule]}]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(groups))
    series = [{"series": key, "values": values} for key, values in _CASES[name][told].items()]
    count = f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)'
    asking = {"expr": count, "eval_time": "3h", "exp_samples": [{"value": int(told)}]}
    test = {"interval": "1m", "input_series": series, "promql_expr_test": [asking]}
    whole = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(whole))
    promtool("test", "rules", tmp_path / "test.yaml")


def test_the_nat_is_told_of_by_what_it_drops_too(alerts: dict[str, Any]) -> None:
    query = _asked(alerts["NatPortsUsedUp"])["query"]
    assert (
        'rate(router_googleapis_com:nat_dropped_sent_packets_count{reason="OUT_OF_RESOURCES"}[5m])' in query
    )


def test_every_figure_is_one_that_the_documents_name(alerts: dict[str, Any]) -> None:
    known = foreign()
    for name, alert in alerts.items():
        query = _asked(alert)["query"]
        for metric, labels in re.findall(r"(\w+_googleapis_com:\w+)(?:\{([^}]*)\})?", query):
            assert metric in known, f"{name}: docs/telemetry.md does not name {metric}"
            assert set(re.findall(r"(\w+)=~?\"", labels)) <= known[metric], name
        grouped = set(re.findall(r"by \((\w+)\)", query))
        assert grouped <= set().union(*known.values()), name


def test_each_says_what_to_do(alerts: dict[str, Any]) -> None:
    for name, alert in alerts.items():
        (told,) = alert["documentation"]
        page, _, section = told["content"].rpartition("What to do: ")[2].partition("#")
        assert page == RUNBOOK
        assert f"`{name}`" in SECTIONS[section], f"the section does not name {name}"
        assert alert["severity"] in ("CRITICAL", "ERROR", "WARNING")
        assert int(_asked(alert)["evaluation_interval"].rstrip("s")) % 30 == 0


def test_somebody_is_told(plan: Plan) -> None:
    channels = plan.each("google_monitoring_notification_channel", "email")
    assert [each["labels"] for each in channels.values()] == [{"email_address": "oncall@example.com"}]
    for name in plan.each("google_monitoring_alert_policy", "this"):
        unknown = plan.unknown(f'google_monitoring_alert_policy.this["{name}"]')
        assert len(unknown["notification_channels"]) == 1


def test_the_api_is_asked_from_outside_as_the_load_balancer_asks_it(plan: Plan) -> None:
    for overlay, check in plan.each("google_monitoring_uptime_check_config", "api").items():
        objects = Objects(overlay)
        (http,) = check["http_check"]
        health = objects.one("HealthCheckPolicy", "api")["spec"]["default"]["config"]["httpHealthCheck"]
        assert http["path"] == health["requestPath"]
        assert (http["use_ssl"], http["validate_ssl"], http["port"]) == (True, True, 443)
        (host,) = {name for one in objects.of("HTTPRoute") for name in one["spec"]["hostnames"]}
        assert check["monitored_resource"][0]["labels"]["host"] == host


def test_silence_is_that_of_a_figure_that_is_always_there(alerts: dict[str, Any]) -> None:
    """The same by which the front is scaled, so it is there as long as a front and Prometheus are."""
    (metric,) = re.findall(r"absent_over_time\((\w+)", _asked(alerts["FiguresStopped"])["query"])
    scaler = Objects("production").one("HorizontalPodAutoscaler", "api")["spec"]["metrics"][0]
    assert scaler["pods"]["metric"]["name"] == f"prometheus.googleapis.com|{metric}|gauge"


def test_spending_is_told_before_and_after(plan: Plan) -> None:
    budget = plan.one("google_billing_budget", "this")
    assert budget["budget_filter"][0]["projects"] == ["projects/123456789012"]
    assert budget["amount"][0]["specified_amount"][0]["units"] == "15000"
    told = {(each["threshold_percent"], each.get("spend_basis")) for each in budget["threshold_rules"]}
    assert {share for share, _ in told} == {0.5, 0.9, 1}
    assert (1, "FORECASTED_SPEND") in told
