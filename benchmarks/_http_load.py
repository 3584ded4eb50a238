"""HTTP/1.1 requests by h2load, a load generator in C, each with the time that it took."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks._h2load import run

RUN_LIMIT_S = 300


@dataclass(frozen=True)
class Upload:
    """The body of a POST."""

    body: bytes
    content_type: str


@dataclass(frozen=True)
class Answered:
    """Requests of ``seconds``: the milliseconds of each that was answered with 200, and the others."""

    took_ms: list[float]
    failed: int
    seconds: float

    @property
    def per_s(self) -> float:
        return len(self.took_ms) / self.seconds

    def ms(self, percent: float) -> float:
        return float(np.percentile(self.took_ms, percent))


def gets(base: str, paths: Sequence[str], total: int, callers: int, folder: Path) -> Answered:
    """``total`` GETs of ``paths`` in turn, by ``callers`` that each wait for their answer."""
    uris = folder / "uris.txt"
    uris.write_text("".join(f"{base}{path}\n" for path in paths))
    return _answered([["-n", str(total), "-c", str(callers), "-i", str(uris)]], folder)


def posts(url: str, uploads: Sequence[Upload], each: int, folder: Path) -> Answered:
    """Each of ``uploads`` ``each`` times over, by as many callers as there are uploads."""
    commands = []
    for number, upload in enumerate(uploads):
        body = folder / f"upload-{number}"
        body.write_bytes(upload.body)
        header = f"content-type: {upload.content_type}"
        commands.append(["-n", str(each), "-c", "1", "-d", str(body), "-H", header, url])
    return _answered(commands, folder)


def _answered(commands: Sequence[list[str]], folder: Path) -> Answered:
    logs = [folder / f"requests-{number}.log" for number in range(len(commands))]
    for log in logs:
        log.unlink(missing_ok=True)  # h2load writes behind what is there
    options = [
        ["--h1", "--log-file", str(log), *command] for log, command in zip(logs, commands, strict=True)
    ]
    said = run(options, RUN_LIMIT_S)
    rows = []
    for log, text in zip(logs, said, strict=True):
        lines = log.read_text().split("\n")[:-1]
        if not lines:
            raise SystemExit(f"h2load was answered nothing:\n{text}")
        rows += [[int(word) for word in line.split("\t")[:3]] for line in lines]
    began, status, took_us = np.array(rows).T
    good = status == 200
    seconds = float((began + took_us).max() - began.min()) / 1e6
    return Answered((took_us[good] / 1e3).tolist(), int((~good).sum()), seconds)
