"""Dashboards and rules are those that are generated, and Grafana can draw them."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.conftest import MONITORING, Tool

GENERATED = runpy.run_path(str(MONITORING / "generate.py"))
NAMES = sorted(GENERATED["DASHBOARDS"])


def read(name: str) -> dict[str, Any]:
    return json.loads((MONITORING / "dashboards" / f"{name}.json").read_text())


def queries(name: str) -> list[str]:
    """As Prometheus gets them."""
    targets = [target for panel in read(name)["panels"] for target in panel["targets"]]
    return [target["expr"].replace("$__rate_interval", "5m") for target in targets]


def test_they_are_fresh() -> None:
    found = {path.stem: path.read_text() for path in (MONITORING / "dashboards").glob("*.json")}
    made = {name: GENERATED["dashboard"](name) for name in NAMES}
    assert found == made, "run python k8s/monitoring/generate.py"


def test_the_cluster_gets_the_rules_that_are_tested() -> None:
    assert (MONITORING / "rules.yaml").read_text() == GENERATED["rules"](), (
        "run python k8s/monitoring/generate.py"
    )


@pytest.mark.parametrize("name", NAMES)
def test_promtool_takes_every_query(promtool: Tool, name: str, tmp_path: Path) -> None:
    found = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries(name))]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": name, "rules": found}]}))
    assert f"{len(found)} rules found" in promtool("check", "rules", path)


@pytest.mark.parametrize("name", NAMES)
def test_grafana_finds_what_it_needs(name: str) -> None:
    board = read(name)
    assert (board["uid"], board["schemaVersion"]) == (f"imgsearch-{name}", 39)
    (choice,) = board["templating"]["list"]
    assert (choice["name"], choice["type"], choice["query"]) == ("datasource", "datasource", "prometheus")
    places, ids = set(), set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        places.add((place["x"], place["y"]))
        ids.add(panel["id"])
        for one in (panel, *panel["targets"]):
            assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    assert len(places) == len(ids) == len(board["panels"])


def test_a_panel_that_the_runbook_names_is_there() -> None:
    titles = {panel["title"] for name in NAMES for panel in read(name)["panels"]}
    boards = {read(name)["title"].removeprefix("imgsearch: ") for name in NAMES}
    page = " ".join((MONITORING.parents[1] / "docs/operations.md").read_text().split())
    named = re.findall(r"((?:\*[^*]+\*(?:, | and )?)+) on the dashboard \*([^*]+)\*", page)
    assert len(named) > 4
    for panels, board in named:
        assert board in boards
        assert set(re.findall(r"\*([^*]+)\*", panels)) <= titles
