"""Who is told."""

import re
from typing import Any

import pytest
import yaml

from tests.monitoring.conftest import MONITORING, Tool, alerts

ROUTES = MONITORING / "alertmanager.yaml"


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    return yaml.safe_load(ROUTES.read_text())


def test_amtool_takes_the_routes(amtool: Tool) -> None:
    assert "SUCCESS" in amtool("check-config", ROUTES)


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("severity=page", "alertname=FrontGone"), "page"),
        (("severity=ticket", "alertname=GenerationOld"), "ticket"),
        (("alertname=SomebodyElses",), "ticket"),
    ],
)
def test_an_alert_goes_to_its_receiver(amtool: Tool, labels: tuple[str, ...], receiver: str) -> None:
    said = amtool("config", "routes", "test", f"--config.file={ROUTES}", *labels)
    assert said.split() == [receiver]


def test_secrets_are_files(told: dict[str, Any]) -> None:
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
    assert sorted(secrets) == ["api_url_file", "routing_key_file"]
    assert all(value.startswith("/etc/alertmanager/secrets/") for value in secrets.values())
    assert "://" not in ROUTES.read_text()


def test_what_silences_another_is_an_alert(told: dict[str, Any]) -> None:
    named = re.findall('alertname=~?"([^"]+)"', ROUTES.read_text())
    assert {name for names in named for name in names.split("|")} <= {alert.name for alert in alerts()}
    assert len(named) == 2 * len(told["inhibit_rules"])
