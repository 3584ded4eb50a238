"""Rules and dashboards ask for nothing that nobody exports: the services run, and are read."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from imgsearch_assets.trial.probe import Probed, ProbeMetrics
from tests.monitoring.conftest import rules
from tests.monitoring.promql import read
from tests.monitoring.test_dashboards import NAMES, queries
from tests.running import SERVICES, Platform, run_platform

TELEMETRY = (Path(__file__).parents[2] / "docs/telemetry.md").read_text()
# Of whatever managed Prometheus reads; `service` is the pod's app.kubernetes.io/name.
OF_THE_TARGET = {"service", "namespace", "instance"}

ASKED = [(f"{rule.file}: {rule.name}", rule.told["expr"]) for rule in rules()]
ASKED += [(f"{name}: {query}", query) for name in NAMES for query in queries(name)]
RECORDED = {rule.name: read(rule.told["expr"]).grouped for rule in rules() if "record" in rule.told}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with run_platform(tmp_path_factory.mktemp("home")) as found:
        yield found


@pytest.fixture(scope="module")
def exported(platform: Platform) -> dict[str, set[str]]:
    """The labels of every sample, once each kind of request was made."""
    with httpx.Client(base_url=platform.url, timeout=30) as http:
        assert http.get("/v1/products/p0/similar").status_code == 200
        for picture in (platform.pictures["p1"], b"none"):
            http.post("/v1/search/image", files={"image": picture})
        url = f"{platform.picture_host}/p2.jpg"
        assert http.post("/v1/search", json={"image_url": url}).status_code == 200
    probe = ProbeMetrics()
    probe.saw(Probed("local", "g", True, "", 0.1, 1, 1.0, 1.0))
    texts = [platform.figures(name) for name in SERVICES] + [generate_latest(probe.registry).decode()]
    found: dict[str, set[str]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def foreign() -> dict[str, set[str]]:
    """What others export, as docs/telemetry.md says."""
    table = TELEMETRY.split("Figures that are not ours")[1]
    return {name: set(labels.split(",")) for name, labels in re.findall(r"\| `([\w:]+)\{([\w,]+)\}`", table)}


def test_every_metric_and_label_is_there(exported: dict[str, set[str]]) -> None:
    known = {name: labels | OF_THE_TARGET for name, labels in {**exported, **RECORDED}.items()}
    known |= foreign()
    wrong = []
    for where, asked in ASKED:
        query = read(asked)
        assert query.selectors, where
        for name, labels in query.selectors:
            if name not in known:
                wrong.append(f"{where}: nobody exports {name}")
            elif missing := labels - known[name]:
                wrong.append(f"{where}: {name} has no label {', '.join(sorted(missing))}")
        there = set().union(*(known.get(name, set()) for name, _ in query.selectors))
        if missing := query.grouped - there:
            wrong.append(f"{where}: nothing in it has a label {', '.join(sorted(missing))}")
    assert wrong == []


def test_what_others_export_is_asked_for() -> None:
    asked = {name for _, query in ASKED for name, _ in read(query).selectors}
    of_google = (Path(__file__).parents[2] / "k8s/terraform/alerts.tf").read_text()
    assert [name for name in foreign() if name not in asked and name not in of_google] == []


def test_values_of_labels_that_are_asked_for_occur(platform: Platform, exported: dict[str, set[str]]) -> None:
    """A word that no service says would make a rule that never fires."""
    assert exported
    text = platform.figures("api") + platform.figures("search")
    assert 'origin="made"' in text
    assert re.search('imgsearch_api_request_seconds_bucket{le="0.5",route="/v1/search"}', text)
    assert 'imgsearch_api_errors_total{code="bad_image"} 1.0' in text
    assert 'route="/v1/products/{product_id}/similar"' in text
