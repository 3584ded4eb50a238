"""What the pods are told are settings, with values that the processes take; secrets come by reference."""

import re

import pytest
from pydantic.fields import FieldInfo

from imgsearch_assets.environment import read_environment
from imgsearch_assets.settings import PipelineSettings
from serving.identity.keys import made
from serving.rpc.client import Caller
from serving.settings import Settings, read_settings
from tests.k8s.rendering import FOLLOWERS, K8S, OVERLAYS, PROCESSES, Objects, size_of

KNOWN = {f"IMGSEARCH_{name.upper()}": field for name, field in Settings.model_fields.items()}
OF_THE_PIPELINE = {
    f"IMGSEARCH_{name.upper()}": field for name, field in PipelineSettings.model_fields.items()
}
SECRET = {name for name, field in KNOWN.items() if "SecretStr" in str(field.annotation)}


def known(process: str) -> dict[str, FieldInfo]:
    return KNOWN | OF_THE_PIPELINE if process in FOLLOWERS else KNOWN


def secrets(objects: Objects, process: str) -> dict[str, tuple[str, str]]:
    """Name and key of the Secret that each secret setting comes from."""
    references = {
        each["name"]: each["valueFrom"]["secretKeyRef"]
        for each in objects.service(process).server.get("env", ())
    }
    return {name: (reference["name"], reference["key"]) for name, reference in references.items()}


def test_every_name_is_a_setting(objects: Objects, process: str) -> None:
    assert objects.environment(process).keys() - known(process).keys() == set()
    assert secrets(objects, process).keys() - KNOWN.keys() == set()


def test_secrets_and_no_others_come_from_secrets(objects: Objects, process: str) -> None:
    assert objects.environment(process).keys() & SECRET == set()
    assert secrets(objects, process).keys() <= SECRET


def test_the_processes_start_with_them(
    objects: Objects, process: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KNOWN | OF_THE_PIPELINE:
        monkeypatch.delenv(name, raising=False)
    for name, value in objects.environment(process).items():
        monkeypatch.setenv(name, value)
    _, key = made("front", {"search"}, now=0)
    values = {"IMGSEARCH_SERVICE_KEY": key, "IMGSEARCH_REDIS_URL": "rediss://:p@10.0.0.1:6378/0"}
    for name in secrets(objects, process):
        monkeypatch.setenv(name, values[name])
    settings = read_settings()
    assert settings.environment == objects.overlay
    assert settings.host == "0.0.0.0"
    if process in ("api", "probe"):
        assert Caller.of(settings).key == key
    if process == "stock-feed":
        assert read_environment().catalogue.startswith("bigquery:")


def test_the_page_says_which_secrets_there_have_to_be(objects: Objects) -> None:
    used = {pair for process in PROCESSES for pair in secrets(objects, process).values()}
    for workload in objects.workloads:
        for volume in workload.spec.get("volumes", ()):
            if "secret" in volume:
                used |= {(volume["secret"]["secretName"], item["key"]) for item in volume["secret"]["items"]}
    told = re.findall(r"^\| `(\S+)` \| `(\S+)` \|", (K8S / "README.md").read_text(), re.MULTILINE)
    assert set(told) == used


def test_all_keep_their_objects_in_one_bucket() -> None:
    told = {
        Objects(overlay).environment(process)["IMGSEARCH_OBJECTS"]
        for overlay in OVERLAYS
        for process in PROCESSES
    }
    (bucket,) = told
    assert (
        f'{{name: IMGSEARCH_OBJECTS, value: "{bucket}"}}' in (K8S / "dagster/values.place.yaml").read_text()
    )


def test_the_disk_has_room_for_the_cache(objects: Objects, process: str) -> None:
    limit = objects.service(process).server["resources"]["limits"]["ephemeral-storage"]
    assert int(objects.environment(process)["IMGSEARCH_CACHE_BYTES"]) <= 0.9 * size_of(limit)
