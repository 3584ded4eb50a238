"""Who is told."""

import base64
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.conftest import MONITORING, Tool, alerts

ROUTES = MONITORING / "alertmanager.yaml"
ADDRESSES = {"PAGERDUTY_ROUTING_KEY": "key", "SLACK_WEBHOOK": "https://hooks.example.com/services/1"}


def printed(**addresses: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [MONITORING / "routes"], env={"PATH": path, **addresses}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As Alertmanager gets them."""
    done = printed(**ADDRESSES)
    assert done.returncode == 0, done.stderr
    secret = yaml.safe_load(done.stdout)
    assert (secret["metadata"]["namespace"], secret["metadata"]["name"]) == ("gmp-public", "alertmanager")
    path = tmp_path_factory.mktemp("routes") / "alertmanager.yaml"
    path.write_bytes(base64.b64decode(secret["data"]["alertmanager.yaml"]))
    return path


@pytest.mark.parametrize("lacking", ADDRESSES)
def test_nothing_is_sent_without_an_address(lacking: str) -> None:
    done = printed(**{name: value for name, value in ADDRESSES.items() if name != lacking})
    assert (done.returncode, done.stdout) == (1, "")
    assert lacking in done.stderr


def test_the_addresses_are_all_that_is_put_in(routes: Path) -> None:
    text = ROUTES.read_text()
    for name, value in ADDRESSES.items():
        text = text.replace(f"${name}", value)
    assert routes.read_text().rstrip() == text.rstrip()


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
