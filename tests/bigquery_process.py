"""BigQuery's emulator as a process, and a gate before it that can answer in Google's stead."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgsearch_assets.local.processes import ProcessGroup, answers, free_port
from tests.between import Answer, Request, between

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

    def __call__(self, request: Request, ask: Callable[[], Answer]) -> Answer:
        try:
            body = json.loads(request.body)
        except ValueError:
            body = request.body
        self.asked.append(Asked(request.method, request.path, body))
        for place, (where, status, said) in enumerate(self._answers):
            if re.search(where, f"{request.method} {request.path}"):
                del self._answers[place]
                return status, [("Content-Type", "application/json")], json.dumps(said).encode()
        return ask()


@contextmanager
def gate(upstream: str) -> Iterator[Gate]:
    """On 127.0.0.1, before ``upstream``."""
    found = Gate()
    with between(found, lambda _: upstream) as found.url:
        yield found
