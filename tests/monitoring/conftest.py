"""What `k8s/monitoring` holds, and the tools of Prometheus that read it."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

MONITORING = Path(__file__).parents[2] / "k8s" / "monitoring"
Tool = Callable[..., str]


class Rule(NamedTuple):
    """``told`` is the rule as it is written; ``name`` that of the alert, or of what is recorded."""

    file: str
    name: str
    told: dict[str, Any]


def rules() -> list[Rule]:
    return [
        Rule(path.stem, rule.get("alert") or rule["record"], rule)
        for path in sorted((MONITORING / "rules").glob("*.yaml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def alerts() -> list[Rule]:
    return [rule for rule in rules() if "alert" in rule.told]


def _run(name: str, package: str, *arguments: object) -> str:
    if shutil.which(name) is None:
        pytest.fail(f"{name} is not installed; on Debian: apt-get install {package}")
    done = subprocess.run([name, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def promtool() -> Tool:
    return lambda *arguments: _run("promtool", "prometheus", *arguments)


@pytest.fixture(scope="session")
def amtool() -> Tool:
    return lambda *arguments: _run("amtool", "prometheus-alertmanager", *arguments)
