"""Every alert fires when it should and not when it should not, says how much, and leads to what to do."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from imgsearch_assets.alerting.alerts import RUNBOOK, anchor
from tests.monitoring.conftest import MONITORING, Rule, Tool, alerts, rules

CASES = sorted((Path(__file__).parent / "rules").glob("*.yaml"))
PAGE = (Path(__file__).parents[2] / RUNBOOK).read_text()
_PARTS = re.split(r"^#+ (.+)$", PAGE, flags=re.MULTILINE)
SECTIONS = {anchor(heading): text for heading, text in zip(_PARTS[1::2], _PARTS[2::2], strict=True)}


def test_promtool_takes_the_rules(promtool: Tool) -> None:
    said = promtool("check", "rules", *sorted((MONITORING / "rules").glob("*.yaml")))
    assert said.count("SUCCESS") == 4


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_they_say_what_their_cases_expect(promtool: Tool, cases: Path) -> None:
    promtool("test", "rules", cases)


def test_each_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    asked: dict[str, set[bool]] = {}
    for cases in CASES:
        for case in yaml.safe_load(cases.read_text())["tests"]:
            for one in case["alert_rule_test"]:
                asked.setdefault(one["alertname"], set()).add(bool(one["exp_alerts"]))
    assert asked == {alert.name: {True, False} for alert in alerts()}


def test_no_two_rules_have_one_name() -> None:
    names = [rule.name for rule in rules()]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_an_alert_says_what_it_is_how_much_and_what_to_do(alert: Rule) -> None:
    told: dict[str, Any] = alert.told
    assert told["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    assert told["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert "$value" in told["annotations"]["description"]
    page, _, section = told["annotations"]["runbook_url"].partition("#")
    assert page == RUNBOOK
    assert f"`{alert.name}`" in SECTIONS[section], f"the section does not name {alert.name}"
