"""A Kubernetes API for tests: jobs, pods, logs, config maps and secrets; a job controller, and one node.

Enough of it for the official client, for dagster-k8s and for kubectl. What it lacks of a cluster is in
``k8s/README.md``.
"""

import base64
import json
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.k8s.kubelet import CannotStart, Json, Node, Start, start

NAMESPACE = "imgsearch-dagster"
# By the last part of their address: kind, group and version.
KINDS = {
    "namespaces": ("Namespace", "v1"),
    "pods": ("Pod", "v1"),
    "events": ("Event", "v1"),
    "configmaps": ("ConfigMap", "v1"),
    "secrets": ("Secret", "v1"),
    "jobs": ("Job", "batch/v1"),
}
_GRACE_S = 5.0


class Refused(Exception):
    """What the API answers instead."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
        }
        self.code = code


class Twin:
    """Everything that is on record, and what becomes of it. ``url`` is where it is asked.

    ``rendered`` has every pod as it was made, those that are gone too. Pods for which ``holds`` is true wait,
    as where no node has room; ``meets`` is called with each that begins to work. Nodes took theirs
    ``settled_for`` ago.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.url = ""
        self.rendered: list[Json] = []
        self.holds: Callable[[Json], bool] = lambda pod: False
        self.settled_for = timedelta(0)
        self.meets: Callable[[Json], None] = lambda pod: None
        self._objects: dict[tuple[str, str], Json] = {}
        self._lock = threading.RLock()

    # What tests do to it.

    def pods(self, run_id: str | None = None) -> list[Json]:
        """Those that there are, of a run or of all."""
        with self._lock:
            found = [pod for (kind, _), pod in self._objects.items() if kind == "pods"]
        return [pod for pod in found if run_id in (None, pod["metadata"]["labels"].get("dagster/run-id"))]

    def say(self, kind: str, name: str, data: Mapping[str, str]) -> None:
        """A ConfigMap or Secret."""
        if kind == "secrets":
            data = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.create(kind, {"metadata": {"name": name}, "data": dict(data)})

    def out_of_memory(self, pod: str) -> None:
        """The kernel kills it, and the kubelet says why."""
        self.node.kill(pod, "OOMKilled")

    def drain(self, pod: str) -> None:
        """It is asked to end, and is gone then."""
        self.delete("pods", pod)

    def lose_node(self, pod: str) -> None:
        """It is gone with its node: nobody ends it, and the cluster forgets it."""
        self._remove("pods", pod)
        self.node.kill(pod)

    # What the API does.

    def create(self, kind: str, body: Json) -> Json:
        with self._lock:
            name = body["metadata"]["name"]
            if (kind, name) in self._objects:
                raise Refused(409, "AlreadyExists", f'{kind} "{name}" already exists')
            body["kind"], body["apiVersion"] = KINDS[kind]
            body["metadata"] |= {
                "namespace": NAMESPACE,
                "uid": str(uuid.uuid4()),
                "creationTimestamp": _now(),
                "resourceVersion": "1",
            }
            body.setdefault("status", {})
            self._objects[kind, name] = body
            if kind == "jobs":
                body["status"] = {"active": 1}
                self._make_pod(body)
            if kind == "pods":
                self._begin(body)
            return body

    def get(self, kind: str, name: str) -> Json:
        with self._lock:
            if (kind, name) not in self._objects:
                raise Refused(404, "NotFound", f'{kind} "{name}" not found')
            return self._objects[kind, name]

    def list(self, kind: str, labels: str, fields: str) -> list[Json]:
        with self._lock:
            return [
                found
                for (of, name), found in self._objects.items()
                if of == kind
                and all(_label(found, term) for term in labels.split(",") if term)
                and fields in ("", f"metadata.name={name}")
            ]

    def delete(self, kind: str, name: str) -> Json:
        """A job takes its pods with it, a pod is asked to end, and takes the jobs that it owns."""
        found = self.get(kind, name)
        self._remove(kind, name)
        if kind == "pods":
            self.node.end(name, _GRACE_S)
        return found

    def _remove(self, kind: str, name: str) -> None:
        with self._lock:
            found = self._objects.pop((kind, name), None)
            if found is None:
                return
            uid, owned = found["metadata"]["uid"], []
            for (of, other), one in self._objects.items():
                if uid in [owner["uid"] for owner in one["metadata"].get("ownerReferences", ())]:
                    owned.append((of, other))
            if kind == "pods":
                self._count_failure(found)
        for of, other in owned:
            self.delete(of, other)

    # The job controller.

    def _make_pod(self, job: Json) -> None:
        template, name = json.loads(json.dumps(job["spec"]["template"])), job["metadata"]["name"]
        metadata = template.get("metadata") or {}
        metadata["name"] = f"{name[:57]}-{uuid.uuid4().hex[:5]}"
        metadata["labels"] = (metadata.get("labels") or {}) | {"job-name": name}
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"]}
        metadata["ownerReferences"] = [owner]
        self.create("pods", {"metadata": metadata, "spec": template["spec"]})

    def _count_failure(self, pod: Json) -> None:
        """Of a pod that failed, or went before it ended; the job has another one, as often as it may."""
        job = self._objects.get(("jobs", pod["metadata"]["labels"].get("job-name", "")))
        if job is None or pod["status"].get("phase") == "Succeeded" or job["status"].get("conditions"):
            return
        failed = job["status"].get("failed", 0) + 1
        if failed > job["spec"].get("backoffLimit", 6):
            reason = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
            job["status"] = {"failed": failed, "conditions": [reason]}
        else:
            job["status"] = {"failed": failed, "active": 1}
            self._make_pod(job)

    def _begin(self, pod: Json) -> None:
        self.rendered.append(json.loads(json.dumps(pod)))
        pod["status"] = {"phase": "Pending"}
        if self.holds(pod):
            message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
            condition = {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": message,
            }
            pod["status"]["conditions"] = [condition]
            return
        pod["spec"]["nodeName"] = "twin"
        placed = _told(datetime.now(UTC) - self.settled_for)
        pod["status"]["conditions"] = [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": placed}
        ]
        self.node.run(pod, self._values, lambda status: self._changed(pod, status))

    def _changed(self, pod: Json, status: Json) -> None:
        with self._lock:
            pod["status"] |= status
            if self._objects.get(("pods", pod["metadata"]["name"])) is not pod:
                return  # it was deleted; what its processes do is nobody's
            if status["phase"] == "Failed":
                self._count_failure(pod)
            job = self._objects.get(("jobs", pod["metadata"]["labels"].get("job-name", "")))
            if status["phase"] == "Succeeded" and job is not None:
                done = {"type": "Complete", "status": "True"}
                job["status"] = {"succeeded": 1, "conditions": [done], "completionTime": _now()}
        if status["phase"] == "Running":
            threading.Timer(0.05, self.meets, (pod,)).start()

    def _values(self, kind: str, name: str) -> Json:
        try:
            data = self.get(kind, name)["data"]
        except Refused as error:
            raise CannotStart("CreateContainerConfigError", str(error)) from None
        if kind == "secrets":
            return {key: base64.b64decode(value).decode() for key, value in data.items()}
        return dict(data)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    twin: Twin

    def _any(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        asked = {name: values[-1] for name, values in parse_qs(url.query).items()}
        try:
            found = self._answer(url.path.strip("/").split("/"), asked, json.loads(data) if data else {})
        except Refused as error:
            self._send(error.code, error.status)
        else:
            self._send(201 if self.command == "POST" else 200, found)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any

    def _answer(self, path: list[str], asked: Mapping[str, str], body: Json) -> Json | bytes:
        match path:
            case [*_, "namespaces", _, kind] if kind in KINDS and self.command == "POST":
                return self.twin.create(kind, body)
            case [*_, "namespaces", _, kind] if kind in KINDS:
                items = self.twin.list(kind, asked.get("labelSelector", ""), asked.get("fieldSelector", ""))
                name, version = KINDS[kind]
                return {"kind": f"{name}List", "apiVersion": version, "metadata": {}, "items": items}
            case [*_, "pods", name, "log"]:
                pod = self.twin.get("pods", name)
                container = asked.get("container") or pod["spec"]["containers"][0]["name"]
                log = self.twin.node.log(name, container)
                return log.read_bytes() if log.exists() else b""
            case [*_, kind, name, "status"] if kind in KINDS:
                return self.twin.get(kind, name)
            case [*_, kind, name] if kind in KINDS:
                return self.twin.delete(kind, name) if self.command == "DELETE" else self.twin.get(kind, name)
            case _:
                return _discovery(path)

    def _send(self, code: int, body: Json | bytes) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if isinstance(body, bytes) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def twin_at(folder: Path, base: Mapping[str, str], start: Start = start) -> Iterator[Twin]:
    """On 127.0.0.1; ``folder/kubeconfig`` says how it is reached."""
    twin = Twin(Node(folder / "logs", base, start))
    handler = type("Handler", (_Handler,), {"twin": twin})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    twin.url = f"http://127.0.0.1:{server.server_port}"
    (folder / "kubeconfig").write_text(yaml.safe_dump(_kubeconfig(twin.url)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield twin
    finally:
        for pod in twin.pods():
            twin.node.kill(pod["metadata"]["name"])
        server.shutdown()
        server.server_close()


def _kubeconfig(url: str) -> Json:
    context = {"cluster": "twin", "user": "nobody", "namespace": NAMESPACE}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "twin", "cluster": {"server": url}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "twin", "context": context}],
        "current-context": "twin",
    }


def _discovery(path: list[str]) -> Json:
    """What there is, for kubectl."""
    match path:
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            version = {"groupVersion": "batch/v1", "version": "v1"}
            return {
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": [{"name": "batch", "versions": [version], "preferredVersion": version}],
            }
        case ["api", "v1"] | ["apis", "batch", "v1"]:
            version = "/".join(path[1:])
            there = [
                {"name": name, "kind": kind, "namespaced": True, "verbs": ["get", "list", "create", "delete"]}
                for name, (kind, of) in KINDS.items()
                if of == version
            ]
            return {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": version,
                "resources": there,
            }
        case _:
            raise Refused(404, "NotFound", f"there is no /{'/'.join(path)} here")


def _label(found: Json, term: str) -> bool:
    name, _, value = term.partition("=")
    return bool((found["metadata"].get("labels") or {}).get(name) == value.lstrip("="))


def _now() -> str:
    return _told(datetime.now(UTC))


def _told(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
