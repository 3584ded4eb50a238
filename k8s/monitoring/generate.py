"""dashboards/*.json for Grafana, and rules.yaml for the cluster: ``python k8s/monitoring/generate.py``.

The rules are those of rules/*.yaml, which promtool reads, in the form that Google's managed Prometheus takes.
A panel is a title, a unit and its queries by legend; rows of three, in the order in which they are read.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent / "dashboards"
_SEARCH = 'route=~"/v1/search.*|.+/similar"'
_LB = "loadbalancing_googleapis_com:https_request_count"
_NAT = "router_googleapis_com:nat_dropped_sent_packets_count"
_REDIS = "redis_googleapis_com:stats_memory_usage_ratio"
_WIDTH, _HEIGHT, _A_ROW = 8, 8, 3


@dataclass(frozen=True)
class Panel:
    """``unit`` is one of Grafana's ids; ``queries`` are by legend."""

    title: str
    unit: str
    queries: dict[str, str]


def _rate(metric: str, by: str, labels: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{labels}}}[$__rate_interval]))"


def _quantile(q: float, metric: str, by: str = "", labels: str = "") -> str:
    groups = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, {_rate(f'{metric}_bucket', groups, labels)})"


DASHBOARDS = {
    "search": (
        "Shoppers' search",
        [
            Panel("Requests", "reqps", {"{{route}}": _rate("imgsearch_api_requests_total", "route")}),
            Panel(
                "Status of searches",
                "reqps",
                {"{{status}}": _rate("imgsearch_api_requests_total", "status", _SEARCH)},
            ),
            Panel("Errors by code", "reqps", {"{{code}}": _rate("imgsearch_api_errors_total", "code")}),
            Panel(
                "Time of searches",
                "s",
                {
                    f"p{100 * q:.0f}": _quantile(q, "imgsearch_api_request_seconds", labels=_SEARCH)
                    for q in (0.5, 0.95, 0.99)
                },
            ),
            Panel(
                "p95 by stage", "s", {"{{stage}}": _quantile(0.95, "imgsearch_api_stage_seconds", "stage")}
            ),
            Panel("In work", "short", {"{{instance}}": "imgsearch_api_requests_in_work"}),
            Panel(
                "Where answers come from",
                "reqps",
                {"{{origin}}": _rate("imgsearch_api_answers_total", "origin")},
            ),
            Panel(
                "Looks into the feature store",
                "reqps",
                {"{{found}}": _rate("imgsearch_api_feature_reads_total", "found")},
            ),
            Panel(
                "Nothing found, too little found",
                "reqps",
                {
                    "nothing": "sum(rate(imgsearch_api_empty_answers_total[$__rate_interval]))",
                    "too little": "sum(rate(imgsearch_api_short_answers_total[$__rate_interval]))",
                },
            ),
            Panel(
                "Budget burn (1 uses it up in a month)",
                "short",
                {
                    "errors, 1 h": "imgsearch:search_errors:ratio_rate1h / 0.001",
                    "slow, 1 h": "imgsearch:search_slow:ratio_rate1h / 0.01",
                },
            ),
            Panel("Golden queries right", "short", {"{{instance}}": "imgsearch_probe_right"}),
            Panel("Longest golden query", "s", {"{{instance}}": "imgsearch_probe_longest_seconds"}),
        ],
    ),
    "freshness": (
        "Pipeline and freshness",
        [
            Panel("Age of the generation", "s", {"served": "imgsearch:generation_age:seconds"}),
            Panel("Age of the stock", "s", {"compared": "imgsearch:stock_age:seconds"}),
            Panel(
                "Stock read from Redis, ago",
                "s",
                {"{{instance}}": "time() - imgsearch_stock_read_timestamp_seconds"},
            ),
            Panel(
                "Replicas by generation",
                "short",
                {"{{generation}}": "count by (generation) (imgsearch_generation_info)"},
            ),
            Panel("Stale", "short", {"{{instance}}": "imgsearch_generation_stale"}),
            Panel(
                "Generations taken, not taken",
                "short",
                {
                    "taken {{instance}}": "increase(imgsearch_generation_swaps_total[1h])",
                    "not taken {{instance}}": "increase(imgsearch_generation_failures_total[1h])",
                },
            ),
            Panel("Products", "short", {"{{instance}}": "imgsearch_generation_products"}),
            Panel("Vectors", "short", {"{{instance}}": "imgsearch_generation_rows"}),
            Panel("Sold out", "short", {"{{instance}}": "imgsearch_stock_sold_out"}),
        ],
    ),
    "models": (
        "Models",
        [
            Panel("Passes", "ops", {"{{service}}": _rate("imgsearch_pass_pictures_count", "service")}),
            Panel("Pictures", "ops", {"{{service}}": _rate("imgsearch_pass_pictures_sum", "service")}),
            Panel(
                "Pictures a pass",
                "short",
                {
                    "{{service}}": f"{_rate('imgsearch_pass_pictures_sum', 'service')}"
                    f" / {_rate('imgsearch_pass_pictures_count', 'service')}"
                },
            ),
            Panel(
                "Wait for a pass, p95",
                "s",
                {"{{service}}": _quantile(0.95, "imgsearch_pass_wait_seconds", "service")},
            ),
            Panel("Pictures that wait", "short", {"{{instance}}": "imgsearch_pass_waiting"}),
            Panel("Pictures in work", "short", {"{{instance}}": "imgsearch_pass_placed"}),
            Panel(
                "Calls",
                "reqps",
                {"{{method}} {{status}}": _rate("imgsearch_rpc_calls_total", "method, status")},
            ),
            Panel("Calls, p95", "s", {"{{method}}": _quantile(0.95, "imgsearch_rpc_seconds", "method")}),
            Panel("Refused", "reqps", {"{{service}}": _rate("imgsearch_rpc_refused_total", "service")}),
            Panel("Models in memory", "short", {"{{instance}}": "imgsearch_models_loaded"}),
            Panel(
                "Models taken, not taken",
                "short",
                {
                    "taken {{instance}}": "increase(imgsearch_model_swaps_total[1h])",
                    "not taken {{instance}}": "increase(imgsearch_model_failures_total[1h])",
                },
            ),
            Panel("Calls in work", "short", {"{{instance}}": "imgsearch_rpc_in_work"}),
        ],
    ),
    "platform": (
        "Platform",
        [
            Panel(
                "Memory of its limit",
                "percentunit",
                {
                    "{{pod_name}} {{container_name}}": "max by (pod_name, container_name) "
                    '(kubernetes_io:container_memory_limit_utilization{memory_type="non-evictable"})'
                },
            ),
            Panel(
                "Memory of processes", "bytes", {"{{service}} {{instance}}": "process_resident_memory_bytes"}
            ),
            Panel(
                "Processor",
                "short",
                {"{{service}} {{instance}}": "rate(process_cpu_seconds_total[$__rate_interval])"},
            ),
            Panel(
                "Disk left",
                "percentunit",
                {"{{service}} {{instance}}": "imgsearch_home_free_bytes / imgsearch_home_size_bytes"},
            ),
            Panel(
                "Volumes used",
                "percentunit",
                {
                    "{{pod_name}} {{volume_name}}": "max by (pod_name, volume_name) "
                    "(kubernetes_io:pod_volume_utilization)"
                },
            ),
            Panel(
                "Redis memory used", "percentunit", {"{{instance_id}}": f"max by (instance_id) ({_REDIS})"}
            ),
            Panel(
                "Warnings a minute",
                "short",
                {"{{service}} {{level}}": "60 * " + _rate("imgsearch_log_records_total", "service, level")},
            ),
            Panel("Packets dropped by the NAT", "short", {"{{gateway_name}}": _rate(_NAT, "gateway_name")}),
            Panel(
                "Load balancer by status",
                "reqps",
                {"{{response_code_class}}": _rate(_LB, "response_code_class")},
            ),
        ],
    ),
}


def dashboard(name: str) -> str:
    """The JSON of one of ``DASHBOARDS``."""
    title, panels = DASHBOARDS[name]
    source = {"type": "prometheus", "uid": "${datasource}"}
    choice = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    drawn = [
        {
            "id": number + 1,
            "type": "timeseries",
            "title": panel.title,
            "datasource": source,
            "gridPos": {
                "x": _WIDTH * (number % _A_ROW),
                "y": _HEIGHT * (number // _A_ROW),
                "w": _WIDTH,
                "h": _HEIGHT,
            },
            "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
            "targets": [
                {"refId": chr(ord("A") + place), "datasource": source, "expr": query, "legendFormat": legend}
                for place, (legend, query) in enumerate(panel.queries.items())
            ],
        }
        for number, panel in enumerate(panels)
    ]
    made = {
        "uid": f"imgsearch-{name}",
        "title": f"imgsearch: {title}",
        "tags": ["imgsearch"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [choice]},
        "panels": drawn,
    }
    return json.dumps(made, indent=1) + "\n"


def rules() -> str:
    """All groups as one resource; of no cluster alone, as what Cloud Monitoring tells is of none."""
    groups = [
        {"name": group["name"], "interval": "1m", "rules": group["rules"]}
        for path in sorted((FOLDER.parent / "rules").glob("*.yaml"))
        for group in yaml.safe_load(path.read_text())["groups"]
    ]
    made = {
        "apiVersion": "monitoring.googleapis.com/v1",
        "kind": "GlobalRules",
        "metadata": {"name": "imgsearch"},
        "spec": {"groups": groups},
    }
    return "# Made by generate.py of rules/*.yaml.\n" + yaml.safe_dump(made, sort_keys=False, width=110)


if __name__ == "__main__":
    for dashboard_name in DASHBOARDS:
        (FOLDER / f"{dashboard_name}.json").write_text(dashboard(dashboard_name))
    (FOLDER.parent / "rules.yaml").write_text(rules())
