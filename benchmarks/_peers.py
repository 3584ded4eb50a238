"""An environment of their own for the programs we measure ourselves against."""

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-peers"


class NotInstalled(Exception):
    """A peer cannot be had here, so there is nothing to compare with."""


def installed(requirements: Path) -> Path:
    """The folder of commands of an environment that holds ``requirements``. Raises ``NotInstalled``."""
    wanted = requirements.read_text()
    marker = FOLDER / f"{requirements.stem}.installed"
    commands = FOLDER / "bin"
    if marker.is_file() and marker.read_text() == wanted:
        return commands
    print(f"installing {requirements.name} into {FOLDER.name}", file=sys.stderr, flush=True)
    if not (commands / "python").exists():
        venv.create(FOLDER, with_pip=True)
    pip: list[str | Path] = [
        commands / "python",
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--quiet",
    ]
    run = subprocess.run([*pip, "-r", requirements], capture_output=True, text=True)
    if run.returncode != 0:
        said = run.stderr.strip().splitlines()[-1:] or ["pip said nothing"]
        raise NotInstalled(f"{requirements.name} could not be installed: {said[0]}")
    marker.write_text(wanted)
    return commands


def library(requirements: Path) -> Path:
    """A folder to put on the path of this environment's Python, with ``requirements`` and nothing they need.

    Raises ``NotInstalled``.
    """
    folder = FOLDER / requirements.stem
    marker = FOLDER / f"{requirements.stem}.installed"
    wanted = requirements.read_text()
    if marker.is_file() and marker.read_text() == wanted:
        return folder
    pip: list[str | Path] = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    where: list[str | Path] = ["--no-deps", "--upgrade", "--target", folder, "-r", requirements]
    run = subprocess.run([*pip, *where], capture_output=True, text=True)
    if run.returncode != 0:
        said = run.stderr.strip().splitlines()[-1:] or ["pip said nothing"]
        raise NotInstalled(f"{requirements.name} could not be installed: {said[0]}")
    marker.write_text(wanted)
    return folder
