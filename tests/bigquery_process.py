"""BigQuery's emulator as a process, and a gate before it that can answer in Google's stead."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import requests

from imgsearch_assets.local.processes import ProcessGroup, answers, free_port

ENVIRONMENT = Path(__file__).parents[1] / ".venv-bigquery"
PROJECT = "shop-prod"


@dataclass
class Emulator:
    """``rest`` and ``storage`` are the addresses of its two APIs."""

    rest: str
    storage: str


@contextmanager
def emulator(folder: Path) -> Iterator[Emulator]:
    """On 127.0.0.1, with its tables below ``folder``."""
    program = ENVIRONMENT / "bin" / "local-bigquery"
    assert program.exists(), f"{program} is not there; make test sets it up"
    rest, storage = free_port(), free_port()
    command = [str(program), "serve", "--host", "127.0.0.1", "--port", str(rest), "--grpc-port", str(storage)]
    # Its extensions of DuckDB lie in its own home, where the set-up put them: nothing is fetched.
    with ProcessGroup(folder / "logs", {"HOME": str(ENVIRONMENT / "home")}) as group:
        group.start("bigquery", [*command, "--project", PROJECT, "--data-dir", str(folder / "data")])
        group.wait_ready("bigquery", answers(rest), 60)
        yield Emulator(f"http://127.0.0.1:{rest}", f"127.0.0.1:{storage}")


@dataclass
class Asked:
    """A request that came to the gate."""

    method: str
    path: str
    body: Any

    @property
    def job(self) -> dict[str, Any]:
        """The configuration of the job that it starts."""
        found: dict[str, Any] = self.body["configuration"]
        return found


@dataclass
class Gate:
    """Passes every request on to the emulator, but for those it is told to answer itself."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    _answers: list[tuple[str, int, Any]] = field(default_factory=list)

    def answer(self, where: str, status: int, reason: str, message: str, times: int = 1) -> None:
        """Fail the next ``times`` requests whose ``METHOD path`` has ``where`` (a pattern) as Google does."""
        error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
        self._answers += [(where, status, {"error": error})] * times

    def forget(self) -> None:
        """Pass everything on from now on."""
        self._answers.clear()

    def jobs(self) -> list[dict[str, Any]]:
        return [
            it.job
            for it in self.asked
            if it.method == "POST" and isinstance(it.body, dict) and "configuration" in it.body
        ]

    def taken(self, method: str, path: str) -> tuple[int, Any] | None:
        for place, (where, status, body) in enumerate(self._answers):
            if re.search(where, f"{method} {path}"):
                del self._answers[place]
                return status, body
        return None


@contextmanager
def gate(upstream: str) -> Iterator[Gate]:
    """On 127.0.0.1, before ``upstream``."""
    found = Gate()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                body = json.loads(data)
            except ValueError:
                body = data
            found.asked.append(Asked(self.command, self.path, body))
            answer = found.taken(self.command, self.path)
            if answer is not None:
                self._send(answer[0], json.dumps(answer[1]).encode(), {"Content-Type": "application/json"})
                return
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ("host", "accept-encoding")
            }
            reply = requests.request(
                self.command, upstream + self.path, data=data, headers=headers, timeout=60
            )
            kept = {
                name: reply.headers[name]
                for name in ("Content-Type", "Location", "X-Goog-Upload-Status")
                if name in reply.headers
            }
            if "Location" in kept:
                kept["Location"] = kept["Location"].replace(upstream, found.url)
            self._send(reply.status_code, reply.content, kept)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
