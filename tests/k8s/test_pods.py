"""What every pod keeps to, and that its server is what the manifests say it is."""

import subprocess
import sys

import pytest

from serving.rpc.server import LIVE
from serving.settings import Settings
from tests.k8s.rendering import FOLLOWERS, PROCESSES, Objects, Workload, own

GPU = "nvidia.com/gpu"
POOLS = {
    "api": "api",
    "search": "search",
    "detect": "gpu",
    "embed": "gpu",
    "probe": "api",
    "stock-feed": "api",
    "gpu-spare": "gpu",
    "gpu-pre-pull": "gpu",
}
# How long a process takes to send its traces at its end (docs/telemetry.md).
TRACES_S = 2


def default_port(service: str) -> int:
    address = Settings.model_fields.get(f"{service}_address")
    return (
        int(str(address.default).rpartition(":")[2])
        if address
        else int(Settings.model_fields["api_port"].default)
    )


def test_all_pods_are_restricted(objects: Objects) -> None:
    """By the Pod Security Standard of that name, and beyond it: nothing of the image can be written."""
    for workload in objects.workloads:
        spec = workload.spec
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert all(
            volume.keys() <= {"name", "emptyDir", "secret", "configMap"} for volume in spec.get("volumes", ())
        )
        for container in workload.containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, (workload.name, container["name"])


def test_no_pod_can_speak_to_the_cluster(objects: Objects) -> None:
    assert all(workload.spec["automountServiceAccountToken"] is False for workload in objects.workloads)


def test_each_has_an_account_of_its_own(objects: Objects) -> None:
    accounts = [workload.spec["serviceAccountName"] for workload in objects.workloads]
    assert sorted(accounts) == sorted(set(accounts))
    key = "iam.gke.io/gcp-service-account"
    by_name = {
        one["metadata"]["name"]: one["metadata"].get("annotations", {})
        for one in objects.of("ServiceAccount")
    }
    assert by_name.keys() == set(accounts)
    identities = [by_name[name][key] for name in PROCESSES]
    assert len(set(identities)) == len(PROCESSES), "two processes are one to Google"
    assert all("PROJECT" not in identity for identity in identities)
    assert all(key not in by_name[name] for name in by_name.keys() - set(PROCESSES))


def test_pods_go_to_their_pool(objects: Objects) -> None:
    for workload in objects.workloads:
        assert workload.spec["nodeSelector"] == {"imgsearch/pool": POOLS[workload.name]}
        taints = [each["value"] for each in workload.spec["tolerations"] if each["key"] == "imgsearch/pool"]
        assert taints == [POOLS[workload.name]]
        assert all("key" in each for each in workload.spec["tolerations"]), "that one tolerates everything"


def test_no_pod_without_a_gpu_takes_the_place_of_one_with(objects: Objects) -> None:
    """But for a DaemonSet, which is on a node as long as that is there and brings none."""
    for workload in objects.workloads:
        tolerates = any(each["key"] == GPU for each in workload.spec["tolerations"])
        asks = any(GPU in container["resources"]["limits"] for container in workload.containers)
        assert tolerates == (asks or workload.made_from["kind"] == "DaemonSet"), workload.name


def test_every_container_has_limits(objects: Objects) -> None:
    for workload in objects.workloads:
        for container in workload.containers:
            limits, requests = container["resources"]["limits"], container["resources"]["requests"]
            assert {"cpu", "memory", "ephemeral-storage"} <= limits.keys() == requests.keys(), workload.name
            assert limits["memory"] == requests["memory"], "a node never promises memory twice"


def test_the_spare_holds_as_much_as_the_pods_that_take_its_place(objects: Objects) -> None:
    spare = Workload(objects.one("Deployment", "gpu-spare")).server["resources"]
    assert (
        spare == objects.service("detect").server["resources"] == objects.service("embed").server["resources"]
    )
    serving, leaving = (own("PriorityClass")[f"imgsearch-{name}"] for name in ("serving", "spare"))
    assert leaving["value"] < 0 < serving["value"]
    assert leaving["value"] >= -10, "the cluster does not grow for less"


def test_the_gpu_nodes_have_the_image_before_it_is_asked_for(objects: Objects) -> None:
    pulled = Workload(objects.one("DaemonSet", "gpu-pre-pull")).spec["initContainers"]
    assert {each["image"] for each in pulled} == {
        objects.service(name).server["image"] for name in ("detect", "embed")
    }


def test_every_server_has_its_probes(objects: Objects, service: str) -> None:
    """That it lives is another question than whether it can be asked; those who only wait have no server."""
    workload = objects.service(service)
    probes = {name: workload.server[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
    if service == "api":
        asked = {name: probe["httpGet"]["path"] for name, probe in probes.items()}
        assert asked == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
        assert {workload.port(probe["httpGet"]["port"]) for probe in probes.values()} == {
            default_port(service)
        }
    else:
        asked = {name: probe["grpc"].get("service", "") for name, probe in probes.items()}
        assert asked == {"startup": LIVE, "liveness": LIVE, "readiness": ""}
        assert {probe["grpc"]["port"] for probe in probes.values()} == {default_port(service)}


@pytest.mark.parametrize("name", FOLLOWERS)
def test_who_nobody_calls_is_asked_for_its_figures(objects: Objects, name: str) -> None:
    workload = objects.service(name)
    command = workload.server["command"]
    for probe in ("startup", "liveness", "readiness"):
        asked = workload.server[f"{probe}Probe"]["httpGet"]
        assert (asked["path"], workload.port(asked["port"])) == ("/metrics", 9464)
    assert command[command.index("--metrics-port") + 1] == "9464"
    assert not any(
        one["spec"]["selector"].items() <= workload.labels.items() for one in objects.of("Service")
    )


def test_the_probe_asks_the_public_api(objects: Objects) -> None:
    command = objects.service("probe").server["command"]
    (host,) = {host for one in objects.of("HTTPRoute") for host in one["spec"]["hostnames"]}
    assert command[command.index("--url") + 1] == f"https://{host}"


def test_only_those_who_answer_nobody_have_no_probes(objects: Objects) -> None:
    without = {w.name for w in objects.workloads if "livenessProbe" not in w.server}
    assert without == {"gpu-spare", "gpu-pre-pull"} == {w.name for w in objects.workloads} - set(PROCESSES)


def test_ports_are_those_that_the_processes_listen_on(objects: Objects, service: str) -> None:
    workload = objects.service(service)
    command = workload.server["command"]
    main = "http" if service == "api" else "grpc"
    assert workload.port(main) == default_port(service)
    assert workload.port("metrics") == int(command[command.index("--metrics-port") + 1])
    assert "--port" not in command
    (port,) = objects.one("Service", service)["spec"]["ports"]
    assert workload.port(port["targetPort"]) == default_port(service)
    if service != "api":
        address = objects.environment("api")[f"IMGSEARCH_{service.upper()}_ADDRESS"]
        assert address == f"dns:///{service}:{port['port']}"
        assert objects.one("Service", service)["spec"]["clusterIP"] == "None", "the front sees each replica"


def test_services_find_their_pods(objects: Objects, service: str) -> None:
    selector = objects.one("Service", service)["spec"]["selector"]
    found = [workload.name for workload in objects.workloads if selector.items() <= workload.labels.items()]
    assert found == [service]


def test_the_end_of_a_pod_leaves_time_to_drain(objects: Objects, service: str) -> None:
    settings = _settings(objects, service)
    drain_s = settings.drain_pause_s + settings.request_timeout_s + 1 + TRACES_S
    assert objects.service(service).spec["terminationGracePeriodSeconds"] >= drain_s


def test_the_front_takes_calls_until_the_load_balancer_has_left(objects: Objects) -> None:
    check = objects.one("HealthCheckPolicy", "api")["spec"]["default"]
    assert check["config"]["httpHealthCheck"] == {"port": default_port("api"), "requestPath": "/readyz"}
    notices_s = check["unhealthyThreshold"] * (check["checkIntervalSec"] + check["timeoutSec"])
    assert _settings(objects, "api").drain_pause_s >= notices_s
    assert (
        objects.one("GCPBackendPolicy", "api")["spec"]["default"]["timeoutSec"]
        > _settings(objects, "api").request_timeout_s
    )


def test_the_folder_that_they_write_to_can_be_written(objects: Objects, process: str) -> None:
    workload = objects.service(process)
    mounts = {each["mountPath"]: each["name"] for each in workload.server["volumeMounts"]}
    volumes = {each["name"]: each for each in workload.spec["volumes"]}
    assert "emptyDir" in volumes[mounts[str(_settings(objects, process).home)]]
    assert mounts.keys() - {str(_settings(objects, process).home)} <= {"/etc/imgsearch/redis"}


@pytest.mark.parametrize("name", [*PROCESSES, "gpu-pre-pull"])
def test_every_command_is_one_of_ours(name: str) -> None:
    objects = Objects("production")
    (workload,) = (each for each in objects.workloads if each.name == name)
    program, *arguments = workload.containers[0]["command"]
    if program == "imgsearch":  # the script that our wheel has
        arguments = ["-m", "imgsearch_assets.cli", *arguments]
    else:
        assert program == "python"
    if arguments[-1] != "--help":
        arguments.append("--help")
    ended = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert all(each in ended.stdout for each in arguments if each.startswith("--"))


def _settings(objects: Objects, service: str) -> Settings:
    told = {
        key.removeprefix("IMGSEARCH_").lower(): value for key, value in objects.environment(service).items()
    }
    return Settings.model_validate(told)
