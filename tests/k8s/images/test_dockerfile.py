"""What the Dockerfile says, where nothing is built."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.k8s.rendering import K8S, OVERLAYS, Objects

ROOT = K8S.parent
FOLDER = K8S / "images"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()


def pins(lock: Path) -> set[tuple[str, str]]:
    """Names and versions; a name has several where the version of Python decides."""
    return set(re.findall(r"^(\S+)==([^\s;]+)", lock.read_text(), re.MULTILINE))


def names_of(lock: Path) -> set[str]:
    return {name for name, _ in pins(lock)}


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    run = subprocess.run([hadolint, FOLDER / "Dockerfile"], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_every_stage_is_of_the_base_that_the_build_names() -> None:
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE}", "python", "python"]
    assert re.search(r"^ARG BASE$", DOCKERFILE, re.MULTILINE), "without a default: a digest grows old"


def test_no_registry_and_no_index_is_named() -> None:
    said = re.sub(r"org\.opencontainers\.image\.\w+", "", DOCKERFILE) + (FOLDER / "gpu.lock").read_text()
    assert "://" not in said
    assert re.findall(r"[\w-]+\.(?:io|com|org|dev|net)\b", said) == []


def test_the_user_is_that_of_the_pods() -> None:
    for workload in Objects("production").workloads:
        context = workload.spec["securityContext"]
        assert f"USER {context['runAsUser']}:{context['runAsGroup']}\n" in DOCKERFILE


def test_the_pods_run_these_images_and_no_others_of_ours() -> None:
    for overlay in OVERLAYS:
        named = {
            c["image"].partition("@")[0].rpartition("/")[2]
            for w in Objects(overlay).workloads
            for c in w.containers
        }
        assert named == {"serving-cpu", "serving-gpu", "pipeline-cpu", "pause"}


def test_all_that_serving_takes_is_locked() -> None:
    lines = (FOLDER / "serving.txt").read_text().splitlines()
    names = [line for line in lines if not line.startswith("#")]
    assert names == sorted(set(names))
    assert set(names) - names_of(ROOT / "requirements.lock") == {"torch"}


def test_a_gpu_adds_what_the_other_lock_has_not() -> None:
    of_a_gpu = names_of(FOLDER / "gpu.lock")
    assert of_a_gpu & names_of(ROOT / "requirements.lock") == set()
    assert not {"torch", "faiss-cpu"} & of_a_gpu, "never both; torch by its version alone"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extra,) = project["optional-dependencies"]["gpu"]
    assert extra.startswith("faiss-gpu-cu12>=")
    assert "faiss-gpu-cu12" in of_a_gpu
    assert any(name.startswith("nvidia-cudnn") for name in of_a_gpu)


@pytest.mark.parametrize("lock", [ROOT / "requirements.lock", FOLDER / "gpu.lock"], ids=["all", "gpu"])
def test_every_pin_has_its_hashes(lock: Path) -> None:
    blocks = re.split(r"\n(?=\S)", lock.read_text().strip())
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


def test_what_is_sent_to_the_build_is_what_it_copies() -> None:
    first, *rest = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] != "#"]
    assert first == "*"
    sent = {line.removeprefix("!") for line in rest if line.startswith("!")}
    copied = {
        name for line in re.findall(r"^COPY ([^-].*) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()
    }
    assert {name if not name.startswith("k8s/images/") else "k8s/images" for name in copied} == sent
