"""Who is told."""

import re
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml

from tests.monitoring.conftest import MONITORING, Tool, alerts

ROUTES = MONITORING / "alertmanager.yaml"
ADDRESSES = {"PAGERDUTY_ROUTING_KEY": "key", "SLACK_WEBHOOK": "https://hooks.example.com/services/1"}


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With addresses, as envsubst puts them in: it knows ``$NAME`` as this does."""
    path = tmp_path_factory.mktemp("routes") / "alertmanager.yaml"
    path.write_text(Template(ROUTES.read_text()).substitute(ADDRESSES))
    return path


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    return yaml.safe_load(ROUTES.read_text())


def test_amtool_takes_the_routes(amtool: Tool, routes: Path) -> None:
    assert "SUCCESS" in amtool("check-config", routes)


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("severity=page", "alertname=FrontGone"), "page"),
        (("severity=ticket", "alertname=GenerationOld"), "ticket"),
        (("alertname=SomebodyElses",), "ticket"),
    ],
)
def test_an_alert_goes_to_its_receiver(
    amtool: Tool, routes: Path, labels: tuple[str, ...], receiver: str
) -> None:
    said = amtool("config", "routes", "test", f"--config.file={routes}", *labels)
    assert said.split() == [receiver]


def test_no_secret_is_in_the_file(told: dict[str, Any]) -> None:
    """Whatever could hold one: an address of a webhook is one, too."""
    secrets = {
        key: value
        for receiver in told["receivers"]
        for kind, configs in receiver.items()
        if kind != "name"
        for config in configs
        for key, value in config.items()
        if re.search("key|url|token|password", key)
    }
    assert secrets == {"api_url": "$SLACK_WEBHOOK", "routing_key": "$PAGERDUTY_ROUTING_KEY"}
    assert "://" not in ROUTES.read_text()


def test_what_silences_another_is_an_alert(told: dict[str, Any]) -> None:
    named = re.findall('alertname=~?"([^"]+)"', ROUTES.read_text())
    assert {name for names in named for name in names.split("|")} <= {alert.name for alert in alerts()}
    assert len(named) == 2 * len(told["inhibit_rules"])
