"""Callers by h2load, who wait for their answers or do not, and some of our own among them who look."""

import asyncio
import random
import struct
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx
import numpy as np

from benchmarks._h2load import h2load
from benchmarks._http_load import Upload
from benchmarks._search_server import SearchServer
from serving.errors import Overloaded, Unavailable
from serving.rpc.client import error_of

SEARCH = "/imgsearch.v1.Search/Search"
# Of h2load, each with a message of its own; and of each where callers do not wait, as many connections (in
# all those of 32 who wait), and calls on each at once.
PROCESSES, CONNECTIONS, AT_ONCE = 4, 8, 500


@dataclass
class Seen:
    """What became of calls within ``seconds``: milliseconds of those that were answered in time."""

    seconds: float = 0.0
    good: int = 0  # by whoever counted them all
    took_ms: list[float] = field(default_factory=list)  # of those whose time is known
    refused: int = 0
    failed: int = 0  # anything else, too late an answer too
    unhinted: int = 0

    @property
    def per_s(self) -> float:
        return self.good / self.seconds

    def ms(self, percent: float) -> float:
        """Not a number where none was answered in time."""
        return float(np.percentile(self.took_ms, percent)) if self.took_ms else float("nan")

    def __str__(self) -> str:
        return (
            f"{self.per_s:,.1f}/s in time, p50 {self.ms(50):.1f} ms, p99 {self.ms(99):.1f} ms; "
            f"{self.refused} refused, {self.unhinted} of the looked at without a hint, {self.failed} failed"
        )


class Crowd(ABC):
    """Callers of one service. ``patience_s`` is what each gives it."""

    def __init__(self, folder: Path, patience_s: float, probes_per_s: float) -> None:
        self.folder = folder
        self.patience_s = patience_s
        self._probes_per_s = probes_per_s

    @abstractmethod
    async def waiting(self, callers: int, seconds: float) -> Seen:
        """``callers`` who each ask again as soon as they are answered."""

    @abstractmethod
    async def coming(self, per_s: float, seconds: float) -> Seen:
        """So many callers a second, whatever the answers take."""

    @abstractmethod
    async def ask(self, number: int, seen: Seen) -> None:
        """One call of our own; what becomes of it is added to ``seen``."""

    async def lone(self) -> float:
        """Seconds of a call; infinite where it is not answered well and in time."""
        began, seen = time.perf_counter(), Seen()
        await self.ask(0, seen)
        return time.perf_counter() - began if seen.took_ms else float("inf")

    async def load(self, commands: Sequence[Sequence[str]]) -> Seen:
        """What our own callers see while h2load does ``commands``, side by side."""
        began, seen = time.perf_counter(), Seen()
        running = [
            await asyncio.create_subprocess_exec(h2load(), *command, stdout=asyncio.subprocess.DEVNULL)
            for command in commands
        ]
        ended = asyncio.gather(*(process.wait() for process in running))
        asked = []
        while not ended.done():
            asked.append(asyncio.create_task(self.ask(len(asked), seen)))
            await asyncio.wait([ended], timeout=random.expovariate(self._probes_per_s))
        seen.seconds = time.perf_counter() - began
        if any(ended.result()):
            raise SystemExit(f"h2load ended with {ended.result()}")
        await asyncio.gather(*asked)
        return seen

    def file(self, number: int, body: bytes) -> str:
        path = self.folder / f"body-{number}"
        path.write_bytes(body)
        return str(path)


class Calls(Crowd):
    """Of the search service, which counts what it answers."""

    def __init__(
        self,
        server: SearchServer,
        messages: Sequence[bytes],
        folder: Path,
        patience_s: float,
        probes_per_s: float,
    ) -> None:
        super().__init__(folder, patience_s, probes_per_s)
        self._server = server
        self._messages = messages
        self._call = grpc.aio.insecure_channel(server.address).unary_unary(SEARCH)  # of the running loop

    async def waiting(self, callers: int, seconds: float) -> Seen:
        processes = min(PROCESSES, callers)
        clients = ["-c", str(callers // processes), "-m", "1"]
        return await self._counted([clients] * processes, seconds)

    async def coming(self, per_s: float, seconds: float) -> Seen:
        each = f"{per_s / PROCESSES / CONNECTIONS:.3f}"
        clients = ["-c", str(CONNECTIONS), "-m", str(AT_ONCE), "--rps", each]
        return await self._counted([clients] * PROCESSES, seconds)

    async def _counted(self, clients: Sequence[Sequence[str]], seconds: float) -> Seen:
        commands = [
            [
                *(
                    *one,
                    "-D",
                    f"{seconds * 1e3:.0f}ms",
                    "-H",
                    "content-type: application/grpc",
                    "-H",
                    "te: trailers",
                ),
                *("-H", f"grpc-timeout: {round(self.patience_s * 1e3)}m"),
                *("-d", self.file(number, struct.pack(">BI", 0, len(message)) + message)),
                f"http://{self._server.address}{SEARCH}",
            ]
            for number, (one, message) in enumerate(zip(clients, self._messages, strict=False))
        ]
        before = Counter(self._server.searches())
        seen = await self.load(commands)
        seen.good = (Counter(self._server.searches()) - before)["OK"]
        return seen

    async def ask(self, number: int, seen: Seen) -> None:
        began = time.perf_counter()
        try:
            await self._call(self._messages[number % len(self._messages)], timeout=self.patience_s)
        except grpc.aio.AioRpcError as failure:
            error = error_of(failure)
            hinted = isinstance(error, Overloaded | Unavailable) and error.retry_after_s > 0
            if failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                seen.failed += 1
            else:
                seen.refused += 1
                seen.unhinted += not hinted
        else:
            seen.took_ms.append((time.perf_counter() - began) * 1e3)


class Uploads(Crowd):
    """Of the HTTP front, each caller with a connection of its own; h2load's log says what became of each."""

    def __init__(
        self,
        url: str,
        uploads: Sequence[Upload],
        client: httpx.AsyncClient,
        folder: Path,
        patience_s: float,
        probes_per_s: float,
    ) -> None:
        super().__init__(folder, patience_s, probes_per_s)
        self._url = url
        self._uploads = uploads
        self._client = client

    async def waiting(self, callers: int, seconds: float) -> Seen:
        return await self._logged([["-c", "1", "-D", f"{seconds * 1e3:.0f}ms"]] * callers)

    async def coming(self, per_s: float, seconds: float) -> Seen:
        """A new connection for each upload; each of h2load's processes brings one after the other."""
        processes = len(self._uploads)
        each = max(1, round(per_s * seconds / processes))
        period_ms = max(1, round(processes / per_s * 1e3))
        clients = ["-c", str(each), "-n", str(each), "-r", "1", "--rate-period", f"{period_ms}ms"]
        return await self._logged([clients] * processes)

    async def _logged(self, clients: Sequence[Sequence[str]]) -> Seen:
        logs, commands = [], []
        for number, (one, upload) in enumerate(zip(clients, self._uploads, strict=False)):
            log = self.folder / f"uploads-{number}.log"
            log.unlink(missing_ok=True)  # h2load writes behind what is there
            logs.append(log)
            header = f"content-type: {upload.content_type}"
            body = self.file(number, upload.body)
            commands.append([*one, "--h1", "--log-file", str(log), "-d", body, "-H", header, self._url])
        probed = await self.load(commands)
        rows = [line.split("\t") for log in logs for line in log.read_text().splitlines()]
        began, status, took = np.array([[int(word) for word in row[:3]] for row in rows]).T
        good = (status == 200) & (took <= self.patience_s * 1e6)
        refused = (status == 429) | (status == 503)
        return Seen(
            seconds=float((began + took).max() - began.min()) / 1e6,
            good=int(good.sum()),
            took_ms=(took[good] / 1e3).tolist(),
            refused=int(refused.sum()),
            failed=int((~good & ~refused).sum()),
            unhinted=probed.unhinted,
        )

    async def ask(self, number: int, seen: Seen) -> None:
        upload = self._uploads[number % len(self._uploads)]
        began = time.perf_counter()
        headers = {"content-type": upload.content_type}
        reply = await self._client.post(self._url, content=upload.body, headers=headers)
        took_s = time.perf_counter() - began
        if reply.status_code == 200 and took_s <= self.patience_s:
            seen.took_ms.append(took_s * 1e3)
        elif reply.status_code in (429, 503):
            seen.refused += 1
            seen.unhinted += "retry-after" not in reply.headers
        else:
            seen.failed += 1
