"""The bill of materials of an image, CycloneDX as JSON, to standard output: python bill.py ENVIRONMENT DPKG

ENVIRONMENT is what was installed for Python, DPKG the folder of the `status` of Debian's packages. In the
working folder are the locks and pyproject.toml. It ends with status 1 where something is installed that no
lock names.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

# Of these the version alone is fixed (docs/adr/0003), or nothing, as it is our own.
_BESIDE_THE_LOCKS = {"torch", "imgsearch"}


def of_python(environment: Path) -> dict[str, Any]:
    command = ["cyclonedx-py", "environment", "--output-reproducible", "--pyproject", "pyproject.toml"]
    run = subprocess.run(
        [Path(sys.executable).parent / command[0], *command[1:], environment],
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(run.stdout))


def of_debian(dpkg: Path) -> list[dict[str, str]]:
    form = "${binary:Package} ${Version} ${Architecture}\n"
    told = subprocess.run(
        ["dpkg-query", f"--admindir={dpkg}", "-W", "-f", form], capture_output=True, check=True
    )
    found = []
    for line in told.stdout.decode().splitlines():
        name, version, architecture = line.split()
        purl = f"pkg:deb/debian/{name.partition(':')[0]}@{quote(version, safe='')}?arch={architecture}"
        found.append({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl})
    return found


def not_locked(bill: dict[str, Any], locks: list[Path]) -> list[str]:
    locked = {pin for lock in locks for pin in re.findall(r"^(\S+==[^\s;]+)", lock.read_text(), re.MULTILINE)}
    found = {each["name"]: f"{_plain(each['name'])}=={each['version']}" for each in bill["components"]}
    return sorted(pin for name, pin in found.items() if name not in _BESIDE_THE_LOCKS and pin not in locked)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(environment: str, dpkg: str) -> None:
    bill = of_python(Path(environment))
    if wrong := not_locked(bill, [Path("requirements.lock"), Path("k8s/images/gpu.lock")]):
        sys.exit(f"no lock names {', '.join(wrong)}; `make lock` writes them")
    bill["components"] += of_debian(Path(dpkg))
    json.dump(bill, sys.stdout, indent=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
