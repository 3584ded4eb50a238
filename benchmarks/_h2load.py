"""gRPC calls by h2load, a load generator in C: several processes at once, each with a message of its own."""

import re
import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RUN_LIMIT_S = 120
DEADLINE_S = 30  # of each call: a client of this platform always has one
# Of the one connection of each process. Eight processes stay below what a server lets wait: it cancels more.
STREAMS = 4

_FINISHED = re.compile(r"finished in ([\d.]+)(us|ms|s),")
_REQUESTS = re.compile(
    r"requests: (\d+) total, .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout"
)
_STATUS = re.compile(r"status codes: (\d+) 2xx")
_DATA_BYTES = re.compile(r"\((\d+)\) data")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


class NoH2load(Exception):
    """The load generator is not installed."""


@dataclass(frozen=True)
class Load:
    """What was asked in ``seconds``. ``right`` have the length of the right answer: an error has no bytes."""

    calls: int
    right: int
    seconds: float

    @property
    def calls_per_s(self) -> float:
        return self.calls / self.seconds


@dataclass(frozen=True)
class Call:
    """A message to a method, and the length in bytes of the reply to it."""

    method: str  # /package.Service/Method
    message: bytes
    reply_bytes: int


def h2load() -> str:
    """Its path. Raises ``NoH2load``."""
    found = shutil.which("h2load")
    if found is None:
        raise NoH2load("h2load is not installed; on Debian: apt-get install nghttp2-client")
    return found


def run(commands: Sequence[Sequence[str]], limit_s: float) -> list[str]:
    """What h2load said to each of ``commands``, its options, all of them side by side."""
    running = [
        subprocess.Popen([h2load(), *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for command in commands
    ]
    return [process.communicate(timeout=limit_s)[0] for process in running]


def load(address: str, calls: Sequence[Call], times: int, folder: Path, streams: int = STREAMS) -> Load:
    """Each of ``calls`` ``times`` over, all of them side by side, ``streams`` at once of each."""
    commands = []
    for number, call in enumerate(calls):
        body = folder / f"{number}.grpc"
        body.write_bytes(struct.pack(">BI", 0, len(call.message)) + call.message)
        command = [
            *("-n", str(times), "-c", "1", "-m", str(min(streams, times)), "-d", str(body)),
            *("-H", "content-type: application/grpc", "-H", "te: trailers"),
            *("-H", f"grpc-timeout: {DEADLINE_S}S", f"http://{address}{call.method}"),
        ]
        commands.append(command)
    said = run(commands, RUN_LIMIT_S)
    loads = [_read(text, call, times) for text, call in zip(said, calls, strict=True)]
    return Load(
        calls=sum(one.calls for one in loads),
        right=sum(one.right for one in loads),
        seconds=max(one.seconds for one in loads),
    )


def _read(said: str, call: Call, times: int) -> Load:
    finished, requests = _FINISHED.search(said), _REQUESTS.search(said)
    status, data = _STATUS.search(said), _DATA_BYTES.search(said)
    if finished is None or requests is None or status is None or data is None:
        raise SystemExit(f"h2load said what is not understood:\n{said}")
    total, succeeded = int(requests[1]), int(requests[2])
    # gRPC's errors are answers of status 200 without a message: only the bytes tell them apart.
    right = min(succeeded, int(status[1]), int(data[1]) // (5 + call.reply_bytes))
    if total != times or int(data[1]) > times * (5 + call.reply_bytes):
        right = 0
    return Load(total, right, float(finished[1]) * _SECONDS[finished[2]])
