"""The twin answers Kubernetes' own clients as a cluster would, as far as steps of the pipeline need it."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import psutil
import pytest

from imgsearch_assets.graph.pods import UNTIL_KILLED
from tests.k8s.kubelet import NOT_FOUND, Json
from tests.k8s.rendering import kubectl
from tests.k8s.twin import NAMESPACE, Twin, twin_at
from tests.running import until

WORKS = "shop/pipeline@sha256:1"


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[Twin]:
    with twin_at(tmp_path, {"PATH": os.environ["PATH"]}) as found:
        yield found


@pytest.fixture
def client(twin: Twin, tmp_path: Path) -> kubernetes.client.ApiClient:
    return kubernetes.config.new_client_from_config(str(tmp_path / "kubeconfig"))


def job(script: str, image: str = WORKS, **more: Any) -> Json:
    container = {"name": "step", "image": image, "command": ["sh", "-c", script], **more}
    spec = {"restartPolicy": "Never", "containers": [container]}
    return {"metadata": {"name": "one"}, "spec": {"backoffLimit": 0, "template": {"spec": spec}}}


def ended(client: kubernetes.client.ApiClient) -> tuple[int, int]:
    """(succeeded, failed) of the job."""
    batch = kubernetes.client.BatchV1Api(client)
    until(lambda: batch.read_namespaced_job_status("one", NAMESPACE).status.conditions, "the job's end")
    status = batch.read_namespaced_job_status("one", NAMESPACE).status
    return status.succeeded or 0, status.failed or 0


def pod(client: kubernetes.client.ApiClient) -> kubernetes.client.V1Pod:
    core = kubernetes.client.CoreV1Api(client)
    (found,) = core.list_namespaced_pod(NAMESPACE, label_selector="job-name=one").items
    return found


def test_a_job_runs_its_command_with_what_its_pod_is_told(
    twin: Twin, client: kubernetes.client.ApiClient, tmp_path: Path
) -> None:
    twin.say("configmaps", "settings", {"COLOUR": "red"})
    twin.say("secrets", "pipeline", {"PASSWORD": "secret"})
    secret = {"name": "AGAIN", "valueFrom": {"secretKeyRef": {"name": "pipeline", "key": "PASSWORD"}}}
    told = {
        "env": [{"name": "SIZE", "value": "4"}, secret],
        "envFrom": [{"configMapRef": {"name": "settings"}}],
    }
    kubernetes.client.BatchV1Api(client).create_namespaced_job(
        NAMESPACE, job("echo $COLOUR $SIZE $AGAIN $HOSTNAME $USER", **told)
    )
    assert ended(client) == (1, 0)
    name = pod(client).metadata.name
    core = kubernetes.client.CoreV1Api(client)
    log = core.read_namespaced_pod_log(name, NAMESPACE, _preload_content=False).data.decode()
    assert log == f"red 4 secret {name}\n", "and with nothing of this process's"
    command = [kubectl(), "--kubeconfig", str(tmp_path / "kubeconfig")]
    shown = subprocess.run([*command, "get", "jobs,pods", "-o", "json"], capture_output=True, check=True)
    assert {item["kind"] for item in json.loads(shown.stdout)["items"]} == {"Job", "Pod"}
    assert subprocess.check_output([*command, "logs", name], text=True) == log
    subprocess.run([*command, "delete", "job", "one", "--wait=false"], capture_output=True, check=True)
    assert twin.pods() == []


def test_init_containers_end_before_it_starts(twin: Twin, client: kubernetes.client.ApiClient) -> None:
    made = job("exit 0")
    first = {"name": "first", "image": WORKS, "command": ["sh", "-c", "exit 3"]}
    made["spec"]["template"]["spec"]["initContainers"] = [first]
    kubernetes.client.BatchV1Api(client).create_namespaced_job(NAMESPACE, made)
    assert ended(client) == (0, 1)
    (status,) = pod(client).status.init_container_statuses
    assert status.state.terminated.exit_code == 3
    (status,) = pod(client).status.container_statuses
    assert status.state.waiting.reason == "PodInitializing"


def test_a_pod_that_is_killed_for_memory_says_so(twin: Twin, client: kubernetes.client.ApiClient) -> None:
    kubernetes.client.BatchV1Api(client).create_namespaced_job(NAMESPACE, job("sleep 60 & wait"))
    until(lambda: pod(client).status.phase == "Running", "a pod at work")
    twin.out_of_memory(pod(client).metadata.name)
    assert ended(client) == (0, 1)
    (status,) = pod(client).status.container_statuses
    assert (status.state.terminated.reason, status.state.terminated.exit_code) == ("OOMKilled", 137)


def test_a_step_that_is_asked_to_end_is_killed_and_says_nothing(
    twin: Twin, client: kubernetes.client.ApiClient, tmp_path: Path
) -> None:
    """By a real shell; whatever the step would do."""
    said = tmp_path / "said"
    step = f"trap 'echo asked > {said}; exit 1' TERM; echo $$ > {tmp_path / 'pid'}; sleep 60 & wait"
    made = job("", command=list(UNTIL_KILLED), args=["sh", "-c", step])
    kubernetes.client.BatchV1Api(client).create_namespaced_job(NAMESPACE, made)
    until((tmp_path / "pid").exists, "a step at work")
    twin.node.end(pod(client).metadata.name, grace_s=60)
    assert ended(client) == (0, 1)
    (status,) = pod(client).status.container_statuses
    assert status.state.terminated.exit_code == 143
    with contextlib.suppress(psutil.NoSuchProcess):  # or nobody asked yet how it ended
        assert psutil.Process(int((tmp_path / "pid").read_text())).status() == psutil.STATUS_ZOMBIE
    assert not said.exists()


@pytest.mark.parametrize("code", [0, 3])
def test_a_step_ends_as_it_ends(twin: Twin, client: kubernetes.client.ApiClient, code: int) -> None:
    made = job("", command=list(UNTIL_KILLED), args=["sh", "-c", f"exit {code}"])
    kubernetes.client.BatchV1Api(client).create_namespaced_job(NAMESPACE, made)
    assert ended(client) == ((0, 1) if code else (1, 0))
    (status,) = pod(client).status.container_statuses
    assert status.state.terminated.exit_code == code


def test_a_pod_whose_node_is_lost_is_gone_and_its_job_failed(
    twin: Twin, client: kubernetes.client.ApiClient
) -> None:
    kubernetes.client.BatchV1Api(client).create_namespaced_job(NAMESPACE, job("sleep 60"))
    until(lambda: pod(client).status.phase == "Running", "a pod at work")
    twin.lose_node(pod(client).metadata.name)
    assert ended(client) == (0, 1)
    assert twin.pods() == []


def test_an_image_that_is_not_there_keeps_a_pod_waiting(
    twin: Twin, client: kubernetes.client.ApiClient
) -> None:
    twin.node.images = {WORKS}
    kubernetes.client.BatchV1Api(client).create_namespaced_job(NAMESPACE, job("exit 0", image="nowhere:1"))
    until(lambda: pod(client).status.container_statuses, "a word of the kubelet")
    (status,) = pod(client).status.container_statuses
    assert status.state.waiting.reason == "ErrImagePull"
    assert status.state.waiting.message == NOT_FOUND.format("nowhere:1")
    assert pod(client).status.phase == "Pending"


def test_a_secret_that_is_not_there_keeps_a_pod_waiting(
    twin: Twin, client: kubernetes.client.ApiClient
) -> None:
    told = {"envFrom": [{"secretRef": {"name": "nobody"}}]}
    kubernetes.client.BatchV1Api(client).create_namespaced_job(NAMESPACE, job("exit 0", **told))
    until(lambda: pod(client).status.container_statuses, "a word of the kubelet")
    (status,) = pod(client).status.container_statuses
    assert (status.state.waiting.reason, status.state.waiting.message) == (
        "CreateContainerConfigError",
        'secrets "nobody" not found',
    )


def test_a_pod_for_which_no_node_has_room_says_so(twin: Twin, client: kubernetes.client.ApiClient) -> None:
    twin.holds = lambda _: True
    kubernetes.client.BatchV1Api(client).create_namespaced_job(NAMESPACE, job("exit 0"))
    (condition,) = pod(client).status.conditions
    assert (condition.reason, condition.status) == ("Unschedulable", "False")
    assert pod(client).spec.node_name is None


def test_what_is_not_there_is_told_as_kubernetes_does(client: kubernetes.client.ApiClient) -> None:
    batch = kubernetes.client.BatchV1Api(client)
    with pytest.raises(kubernetes.client.ApiException) as refused:
        batch.read_namespaced_job("one", NAMESPACE)
    assert (refused.value.status, json.loads(refused.value.body)["reason"]) == (404, "NotFound")
    batch.create_namespaced_job(NAMESPACE, job("exit 0"))
    with pytest.raises(kubernetes.client.ApiException) as refused:
        batch.create_namespaced_job(NAMESPACE, job("exit 0"))
    assert refused.value.status == 409
