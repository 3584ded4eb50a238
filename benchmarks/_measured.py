"""What benchmarks said when they were run last, with command, day and machine: ``measured.jsonl``."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks._peers import ROOT

FILE = Path(__file__).with_name("measured.jsonl")
# What the model of capacity reads, by the benchmark that says it; the order in which they are run.
WANTED: dict[str, tuple[str, ...]] = {
    "fill": (),
    "footprint": (),
    "diff": ("--rounds", "1"),
    "rpc": ("--n", "100000", "--rounds", "3", "--seconds", "2"),
    "fastpath": ("--products", "100", "--rounds", "1", "--seconds", "5"),
}


@dataclass(frozen=True)
class Line:
    """``figures`` are the benchmark's own last line; ``gpu`` is the name of the one it had."""

    benchmark: str
    command: str
    day: str
    machine: str
    cores: int
    gpu: str | None
    figures: dict[str, Any]


def read(file: Path = FILE) -> dict[str, Line]:
    """By benchmark; of two lines of one, the last. Raises ``SystemExit`` naming what is not there."""
    if not file.is_file():
        raise SystemExit(f"there are no measured rates in {file}; `--measure` makes them")
    lines = _there(file)
    if lacking := WANTED.keys() - lines:
        raise SystemExit(f"{file} lacks the line of {', '.join(sorted(lacking))}; `--measure` makes it")
    return lines


def write(lines: Iterable[Line], file: Path = FILE) -> None:
    text = "".join(json.dumps(asdict(line)) + "\n" for line in lines)
    beside = file.with_suffix(".new")
    beside.write_text(text)
    beside.replace(file)


def measure(name: str) -> Line:
    """Run a benchmark of ``WANTED`` here. Raises ``SystemExit`` where it fails."""
    words = ["-m", f"benchmarks.{name}", "--json", *WANTED[name]]
    print(f"python {' '.join(words)}", file=sys.stderr)
    done = subprocess.run([sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"benchmarks.{name} failed; nothing is written")
    figures = json.loads(done.stdout.splitlines()[-1])
    day = datetime.now(UTC).date().isoformat()
    cores = len(os.sched_getaffinity(0))
    return Line(name, f"python {' '.join(words)}", day, _machine(), cores, _gpu(), figures)


def renew(names: Iterable[str], file: Path = FILE) -> None:
    """Run these, and put each one's line in the place of that of before."""
    lines = _there(file) if file.is_file() else {}
    for name in names:
        lines[name] = measure(name)
        write([lines[it] for it in WANTED if it in lines], file)


def _there(file: Path) -> dict[str, Line]:
    return {line.benchmark: line for line in map(_line, file.read_text().splitlines()) if line}


def _line(text: str) -> Line | None:
    try:
        return Line(**json.loads(text)) if text.strip() else None
    except (ValueError, TypeError):
        raise SystemExit(f"this is no line of a benchmark: {text[:80]}") from None


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
