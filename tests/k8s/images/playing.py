"""Pods of the manifests, as podman can play them."""

import base64
import copy
import json
from pathlib import Path

import yaml

from tests.k8s.images.podman import NETWORK, Podman
from tests.k8s.rendering import Json, Objects

OBJECTS = "/objects"
CATALOGUE = "/shop/catalogue.parquet"
# Instead of what is not here: the bucket, BigQuery, the load balancer.
SETTINGS = {"IMGSEARCH_OBJECTS": OBJECTS, "IMGSEARCH_CATALOGUE": CATALOGUE}
ADDRESS = "http://api:8080"


def pod_of(objects: Objects, name: str, folders: Path) -> list[Json]:
    """The pod that a Deployment's controllers would make, and its ConfigMaps. What is changed:

    - it has the name of its Service, by which podman's names find it, as there are no Services;
    - the image is the one that was built here;
    - no ports are opened on the machine, and no probes asked: this podman knows none of gRPC, and asks by a
      curl that is not in the image (the tests ask themselves);
    - Redis's certificate comes from a folder, as this podman mounts no Secrets;
    - `home` has the pod's name, as podman's volumes of one name are one;
    - the object store and the catalogue are folders, mounted; the probe asks the front without TLS.
    """
    template = copy.deepcopy(objects.one("Deployment", name)["spec"]["template"])
    spec = template["spec"]
    (container,) = spec["containers"]
    container["image"] = f"localhost/{container['image'].partition('@')[0].rpartition('/')[2]}"
    for key in ("ports", "startupProbe", "livenessProbe", "readinessProbe"):
        del container[key]
    for each in (*spec["volumes"], *container["volumeMounts"]):
        if each["name"] == "home":
            each["name"] = f"{name}-home"
        if each.pop("secret", None):
            each["hostPath"] = {"path": str(folders / "redis")}
    for folder in (OBJECTS, str(Path(CATALOGUE).parent)):
        spec["volumes"].append({"name": folder[1:], "hostPath": {"path": f"{folders}{folder}"}})
        container["volumeMounts"].append({"name": folder[1:], "mountPath": folder})
    maps = [copy.deepcopy(objects.one("ConfigMap", e["configMapRef"]["name"])) for e in container["envFrom"]]
    for each in maps:
        each["data"] |= {key: value for key, value in SETTINGS.items() if key in each["data"]}
    if name == "probe":
        command = container["command"]
        command[command.index("--url") + 1] = ADDRESS
        command[command.index("--every") + 1] = "1"
    return [
        *maps,
        {"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"] | {"name": name}, "spec": spec},
    ]


def play(podman: Podman, objects: list[Json]) -> None:
    podman("kube", "play", "--network", NETWORK, "-", said=yaml.safe_dump_all(objects))


def keep_secret(podman: Podman, name: str, values: dict[str, str]) -> None:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    podman("secret", "create", name, "-", said=json.dumps(data))
