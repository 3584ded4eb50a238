"""A benchmark as people run it: a process of its own, on next to nothing."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ran:
    """How it ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def figures(self) -> dict[str, Any]:
        """Its last line."""
        assert self.returncode == 0, self.stderr
        found: dict[str, Any] = json.loads(self.stdout.splitlines()[-1])
        return found


@pytest.fixture(scope="session")
def benchmark() -> Callable[..., Ran]:
    """``benchmark("search", "--n", "3000")``; within ``limit_s``."""

    def run(name: str, *options: str, limit_s: float = 300) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", "--json", *options],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run
