"""The workflows are what GitHub takes, give nobody more than is needed, and call what there is."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from imgsearch_assets.cli import app
from tests.k8s.rendering import PROCESSES

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
ALL = pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
TOLD = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}


def jobs(file: Path) -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(file.read_text())["jobs"])


def commands(file: Path) -> list[str]:
    return [step["run"] for job in jobs(file).values() for step in job.get("steps", ()) if "run" in step]


def test_they_are_well_formed() -> None:
    assert {file.stem for file in FILES} == {"checks", "staging", "production"}
    done = subprocess.run(["actionlint", *FILES], env=TOLD, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_nothing_is_injected_unpinned_or_allowed_too_much() -> None:
    command = [
        BIN / "zizmor",
        "--offline",
        "--no-progress",
        "--min-severity=medium",
        ROOT / ".github/workflows",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_scripts_are_sound() -> None:
    done = subprocess.run(
        [BIN / "shellcheck", ROOT / "k8s/roll-out", ROOT / ".ci/run"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


@ALL
def test_actions_are_pinned_and_say_their_version(file: Path) -> None:
    for line in re.findall(r"uses: (.+)", file.read_text()):
        assert line.startswith("./.github/workflows/") or re.fullmatch(
            r"[\w./-]+@[0-9a-f]{40} # v[0-9.]+", line
        )


@ALL
def test_rights_time_and_turns_are_bounded(file: Path) -> None:
    whole = yaml.safe_load(file.read_text())
    assert whole["permissions"] == {}
    assert whole["concurrency"]["group"]
    for job in jobs(file).values():
        rights = {("contents", "read"), ("id-token", "write")}
        assert set(job["permissions"].items()) <= rights
        assert "uses" in job or job["timeout-minutes"] <= 90
    assert "secrets." not in file.read_text()


@ALL
def test_no_script_has_an_expression_in_it(file: Path) -> None:
    assert [command for command in commands(file) if "${{" in command] == []


@ALL
def test_what_is_called_is_there(file: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in commands(file):
        for target in re.findall(r"\bmake ([a-z]+)", command.replace("git make", "")):
            assert f"\n{target}:" in makefile
        for script in re.findall(r"(?:^|\s)((?:\.ci|k8s)/[a-z-]+)(?=\s|$)", command):
            assert os.access(ROOT / script, os.X_OK)
        for words, rest in re.findall(r"imgsearch((?: [a-z]+)+)([^)\n]*)", command):
            found, left = typer.main.get_command(app), words.split()
            while left and isinstance(found, typer.core.TyperGroup):
                found = found.commands[left.pop(0)]
            known = {option for parameter in found.params for option in parameter.opts}
            assert set(re.findall(r"--[a-z-]+", rest)) <= known | {"--help"}


def test_what_was_built_is_tagged_after_it_is_signed() -> None:
    """The registry removes what has no tag, and what is deployed is named by digest alone."""
    (script,) = (one for one in commands(ROOT / ".github/workflows/staging.yml") if "cosign sign" in one)
    lines = [line.split()[:4] for line in script.splitlines() if not line.startswith("#")]
    assert lines[:2] == [
        ["cosign", "sign", "--yes", '"$IMAGE@$DIGEST"'],
        ["docker", "buildx", "imagetools", "create"],
    ]
    # A tag cannot be put to another image, so one that is tried again has another.
    assert '--tag "$IMAGE:$GITHUB_SHA-$GITHUB_RUN_ATTEMPT" "$IMAGE@$DIGEST"\n' in script


def test_what_staging_went_back_from_during_the_roll_out_is_not_released() -> None:
    said = commands(ROOT / ".github/workflows/production.yml")
    check, rolled, again, promote = (
        [number for number, one in enumerate(said) if words in one]
        for words in ("generation=$(", "k8s/roll-out", "test ", "release promote")
    )
    assert check < rolled < again < promote
    assert "release check k8s/overlays/production --from staging" in said[again[0]]


def test_a_roll_out_waits_for_every_process() -> None:
    (names,) = re.findall(r"^for process in (.+); do$", (ROOT / "k8s/roll-out").read_text(), re.MULTILINE)
    assert sorted(names.split()) == sorted(PROCESSES)


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_a_roll_out_may_read_signatures_and_runs_nothing_without_a_hash(environment: str) -> None:
    steps = jobs(ROOT / f".github/workflows/{environment}.yml")["rollout"]["steps"]
    said = [step.get("run") or step["uses"].partition("@")[0] for step in steps]
    assert said.index("docker/login-action") < said.index(f"k8s/roll-out {environment}"), (
        "cosign asks as docker does"
    )
    assert "make locked" in said
    assert "make setup" not in said


def test_every_variable_is_described() -> None:
    used = {name for file in FILES for name in re.findall(r"vars\.([A-Z_]+)", file.read_text())}
    page = (ROOT / "docs/delivery.md").read_text()
    rows = "\n".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`([A-Z_]+)`", rows)) == used


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_an_overlay_of_zeros_is_not_sent(environment: str) -> None:
    if "0" * 64 not in (ROOT / f"k8s/overlays/{environment}/kustomization.yaml").read_text():
        return
    done = subprocess.run([ROOT / "k8s/roll-out", environment], env=TOLD, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"k8s/overlays/{environment}: every image has to be named by the digest of one that was built; "
        "nothing is sent\n"
    )


@pytest.mark.parametrize("named", [[], ["prod"]])
def test_an_overlay_that_is_not_there_is_named(named: list[str]) -> None:
    done = subprocess.run([ROOT / "k8s/roll-out", *named], env=TOLD, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"usage: k8s/roll-out staging|production; there is no overlay '{''.join(named)}'; nothing is sent\n"
    )
