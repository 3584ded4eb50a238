"""The images of a CPU, built once a session where podman can, and what is asked of them."""

import configparser
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.k8s.images.podman import PROGRAMS, Podman
from tests.k8s.rendering import K8S

BASE = "localhost/debian"
KINDS = ("serving", "pipeline")
REVISION = "0123456789abcdef0123456789abcdef01234567"
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    if os.geteuid():
        pytest.skip("images are built as root")
    if lacking := [
        name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None
    ]:
        pytest.skip(f"there is no {', '.join(lacking)}; `make test` installs them on Debian")
    # Not among the other tests' folders: those may lie in memory, and podman wants a short path.
    found = Podman(Path(tempfile.mkdtemp(prefix="images-", dir="/var/tmp")))
    yield found
    found.close()


@pytest.fixture(scope="session")
def base(podman: Podman) -> str:
    """Debian 12 as Debian makes it, named by its digest: no registry is asked."""
    folder = podman.root / "base"
    command = ["/usr/sbin/debootstrap", "--variant=minbase", "bookworm", folder]
    made = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert made.returncode == 0, made.stdout[-3000:]
    with subprocess.Popen(["tar", "-C", folder, "-c", "."], stdout=subprocess.PIPE) as packed:
        assert packed.stdout is not None
        podman("import", "-", f"{BASE}:bookworm", stdin=packed.stdout)
    shutil.rmtree(folder)
    return f"{BASE}@{podman.inspect('image', f'{BASE}:bookworm')['Digest']}"


@pytest.fixture(scope="session")
def images(podman: Podman, base: str) -> dict[str, str]:
    """Their names by kind."""
    if torch.version.cuda:
        pytest.skip("pip finds torch for a GPU alone here; point it at wheels for a CPU (README.md)")
    return {kind: build(podman, base, kind) for kind in KINDS}


def build(podman: Podman, base: str, kind: str) -> str:
    name = f"localhost/{kind}-cpu"
    told = {"BASE": base, "KIND": kind, "DEVICE": "cpu", "REVISION": REVISION}
    arguments = [f"--build-arg={key}={value}" for key, value in told.items()]
    context, dockerfile = K8S.parent, K8S / "images/Dockerfile"
    network = ["--network=host", *_network(podman.root)]
    podman("build", "--layers", *network, *arguments, "-t", name, "-f", dockerfile, context, timeout_s=1200)
    return name


def _network(root: Path) -> list[str]:
    """How the build gets packages: as pip does here."""
    told = _pip_config()
    pip = configparser.ConfigParser(interpolation=None)
    pip["global"] = {key: told[key] for key in ("index-url", "trusted-host", "find-links") if key in told}
    uv = {"index-url": f'"{told["index-url"]}"'} if "index-url" in told else {}
    if folders := [each for each in told.get("find-links", "").split() if Path(each).is_dir()]:
        uv["find-links"] = str(folders).replace("'", '"')
    options = [f"--volume={each}:{each}:ro" for each in folders]
    if Path(_CERTIFICATES).is_file():
        options.append(f"--secret=id=ca,src={_CERTIFICATES}")
        pip["global"]["cert"] = _CERTIFICATES
        uv["system-certs"] = "true"
    with (root / "pip.conf").open("w") as sink:
        pip.write(sink)
    (root / "uv.toml").write_text("".join(f"{key} = {value}\n" for key, value in uv.items()))
    return [*options, f"--secret=id=pip,src={root}/pip.conf", f"--secret=id=uv,src={root}/uv.toml"]


def _pip_config() -> dict[str, str]:
    command = [sys.executable, "-m", "pip", "config", "list"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line.partition("=") for line in told.splitlines()]
    return {key.rpartition(".")[2]: value.strip("'\"") for key, _, value in lines}
