"""What is in the images of a CPU, asked of them as they run on a cluster.

Building them takes minutes, once a session; where there is no podman, these are skipped and say so.
"""

import json
from typing import Any

import pytest

from tests.k8s.images.conftest import BASE, KINDS, REVISION
from tests.k8s.images.podman import Podman
from tests.k8s.images.test_dockerfile import FOLDER, ROOT, pins

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

RESTRICTED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges")
# Looked at from inside.
LOOK = """
import json, os, shutil, subprocess
from importlib.metadata import distributions
from importlib.util import cache_from_source
from pathlib import Path

plain = lambda name: name.lower().replace("_", "-").replace(".", "-")
documents = Path("/usr/share/doc/imgsearch")
query = ["dpkg-query", "-W", "-f", "${binary:Package} ${Version}\\n"]
packages = subprocess.run(query, capture_output=True, text=True)
site = Path("/opt/imgsearch/lib/python3.11/site-packages")
print(json.dumps({
    "user": [os.getuid(), os.getgid()],
    "python": {plain(one.name): one.version for one in distributions()},
    "debian": dict(line.split() for line in packages.stdout.splitlines()),
    "bill": json.loads((documents / "sbom.cdx.json").read_text()),
    "texts": {name: (documents / name).read_text() for name in ("LICENSE", "NOTICE")},
    "tools": [name for name in ("gcc", "cc", "make", "pip", "pip3", "uv", "git") if shutil.which(name)],
    "left behind": [path for path in ("/src", "/tools", "/tmp/dpkg", "/tmp/uv.lock") if os.path.exists(path)],
    "not compiled": [str(p) for p in site.glob("*/*.py") if not Path(cache_from_source(str(p))).exists()],
}))
"""
IMPORTS = """
import importlib, pkgutil, serving
for module in pkgutil.walk_packages(serving.__path__, "serving."):
    if module.name.partition(".milvus")[0] == module.name and module.name != "serving.__main__":
        importlib.import_module(module.name)
"""


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(podman: Podman, image: str, *command: str, options: tuple[str, ...] = ()) -> str:
    return podman("run", "--rm", "--network=none", *RESTRICTED, *options, image, *command)


@pytest.fixture(scope="module")
def inside(podman: Podman, images: dict[str, str], kind: str) -> dict[str, Any]:
    return dict(json.loads(run(podman, images[kind], "python", "-c", LOOK)))


def test_nobody_is_root(inside: dict[str, Any], podman: Podman, images: dict[str, str], kind: str) -> None:
    assert inside["user"] == [65532, 65532]
    assert podman.inspect("image", images[kind])["Config"]["User"] == "65532:65532"


def test_it_says_what_it_was_made_of(podman: Podman, images: dict[str, str], base: str, kind: str) -> None:
    labels = podman.inspect("image", images[kind])["Labels"]
    told = {key.removeprefix("org.opencontainers.image."): value for key, value in labels.items()}
    assert (
        told.items()
        >= {
            "title": f"imgsearch {kind}-cpu",
            "licenses": "Apache-2.0",
            "revision": REVISION,
            "base.name": base,
        }.items()
    )


def test_licence_and_notice_are_there(inside: dict[str, Any]) -> None:
    assert inside["texts"] == {name: (ROOT / name).read_text() for name in ("LICENSE", "NOTICE")}


def test_everything_is_as_locked(inside: dict[str, Any]) -> None:
    found = {pin for pin in inside["python"].items() if pin[0] not in ("imgsearch", "torch")}
    assert found - pins(ROOT / "requirements.lock") == set()
    assert inside["python"]["torch"].partition("+")[0] in (ROOT / "pyproject.toml").read_text()


def test_the_bill_of_materials_names_all_that_is_installed(inside: dict[str, Any]) -> None:
    bill = inside["bill"]
    assert bill["bomFormat"] == "CycloneDX"
    of_debian = {
        c["name"]: c["version"] for c in bill["components"] if c["purl"].startswith("pkg:deb/debian/")
    }
    of_python = {
        c["name"].lower().replace("_", "-").replace(".", "-"): c["version"]
        for c in bill["components"]
        if c["purl"].startswith("pkg:pypi/")
    }
    assert of_debian == inside["debian"]
    ours = {bill["metadata"]["component"]["name"]: bill["metadata"]["component"]["version"]}
    assert of_python | ours == inside["python"]


def test_there_is_nothing_to_build_or_test_with(inside: dict[str, Any]) -> None:
    assert (inside["tools"], inside["left behind"]) == ([], [])
    of_developers = {
        "pip",
        "uv",
        "pytest",
        "hypothesis",
        "mypy",
        "cyclonedx-bom",
        "grpcio-tools",
        "playwright",
    }
    assert of_developers & inside["python"].keys() == set()
    of_debian = {name.partition(":")[0] for name in inside["debian"]}
    assert {"gcc-12", "g++-12", "binutils", "make", "git", "python3-pip"} & of_debian == set()


def test_python_need_not_write_what_it_compiles(inside: dict[str, Any]) -> None:
    assert inside["not compiled"] == []


def test_there_is_one_faiss_and_it_is_that_of_a_cpu(inside: dict[str, Any]) -> None:
    assert {name for name in inside["python"] if name.startswith("faiss")} == {"faiss-cpu"}
    assert {name for name in inside["python"] if name.startswith("nvidia")} == set()


def test_serving_has_all_that_it_imports_and_no_orchestrator(podman: Podman, images: dict[str, str]) -> None:
    run(podman, images["serving"], "python", "-c", IMPORTS)
    there = "from importlib.util import find_spec as f; print(f('dagster'), f('imgsearch_assets'), f('cv2'))"
    assert run(podman, images["serving"], "python", "-c", there) == "None None None\n"


def test_the_pipeline_has_all_that_it_imports(podman: Podman, images: dict[str, str]) -> None:
    writable = ("--tmpfs=/var/lib/imgsearch:mode=1777",)
    code = "import dagster_gcp, dagster_k8s, dagster_postgres; from imgsearch_assets.definitions import defs"
    assert run(podman, images["pipeline"], "python", "-c", code, options=writable) == ""
    assert "Visual product search" in run(podman, images["pipeline"], "imgsearch", "--help")
    assert "dagster, version" in run(podman, images["pipeline"], "dagster", "--version", options=writable)


@pytest.mark.usefixtures("images")
def test_a_base_without_a_digest_is_refused(podman: Podman) -> None:
    said = podman.refused("build", f"--build-arg=BASE={BASE}:bookworm", "-f", FOLDER / "Dockerfile", ROOT)
    assert "BASE is a name with its digest, NAME@sha256:..." in said
