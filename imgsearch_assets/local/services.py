"""The processes of one installation, started in the order in which they lean on each other."""

import json
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from imgsearch_assets.local.installation import Ports, python_module
from imgsearch_assets.local.processes import ProcessGroup, answers, free_port
from imgsearch_assets.local.redis_server import redis_command

# torch and Dagster take seconds to import, more on a busy machine.
_START_S = 180.0
ROOT = Path(__file__).parents[2]
_POSTGRES = "DAGSTER_POSTGRES_URL"  # read by dagster.postgres.yaml


def _ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310 our own address
            return bool(reply.status == 200)
    except OSError:
        return False


def _has_code(dagster_url: str) -> bool:
    """Whether the Dagster UI has our assets. Up without them, it would look like an empty platform."""
    body = json.dumps({"query": "{ assetNodes { id } }"}).encode()
    request = urllib.request.Request(  # noqa: S310 our own address
        f"{dagster_url}/graphql", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
            return bool(json.load(reply)["data"]["assetNodes"])
    except OSError:
        return False


@dataclass(frozen=True)
class Services:
    """Starts parts of an installation in ``group``; each method returns when its part answers.

    Raises ``Unavailable`` with the last words of a part that does not come up.
    """

    group: ProcessGroup
    ports: Ports

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.api}"

    @property
    def dagster_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.dagster}"

    def start_redis(self) -> str:
        """A Redis on a free port; its URL."""
        port = free_port()
        self.group.start("redis", redis_command(port))
        self.group.wait_ready("redis", answers(port), 20)
        return f"redis://127.0.0.1:{port}/0"

    def start_pictures(self, folder: Path) -> None:
        """The sample's shop window."""
        where = ("--folder", str(folder), "--port", str(self.ports.pictures))
        self.group.start("pictures", python_module("imgsearch_assets.sample.server", *where))
        self.group.wait_address("pictures", _START_S)

    def start_search(self) -> dict[str, str]:
        """The search platform: three gRPC services on free ports, and the HTTP front before them.

        The settings by which another front finds these services.
        """
        names = ("search", "detect", "embed")
        for name in names:
            self.group.start(name, python_module("serving", name, "--port", "0"))
        at = {name: self.group.wait_address(name, _START_S) for name in names}
        addresses = {f"IMGSEARCH_{name.upper()}_ADDRESS": address for name, address in at.items()}
        self.group.start("api", python_module("serving", "api", "--port", str(self.ports.api)), **addresses)
        self.group.wait_ready("api", lambda: _ok(f"{self.api_url}/readyz"), _START_S)
        return addresses

    def start_stock(self) -> None:
        """The feed of what is in stock."""
        self.group.start("stock", python_module("imgsearch_assets.commands.stock", "feed"))

    def start_dagster(self, home: Path, **environment: str) -> None:
        """The UI and the daemon, with one code server between them; all are told ``environment`` too."""
        command = ("dev", "--host", "127.0.0.1", "--port", str(self.ports.dagster))
        told = {"DAGSTER_HOME": str(home), "IMGSEARCH_DAGSTER_URL": self.dagster_url, **environment}
        workspace = ("--workspace", str(ROOT / "workspace.yaml"))
        self.group.start("dagster", python_module("dagster", *command, *workspace), **told)
        self.group.wait_ready("dagster", lambda: _has_code(self.dagster_url), _START_S)


def dagster_home(home: Path) -> Path:
    """``home/dagster`` with the repository's ``dagster.yaml`` in it; also this process's own.

    Records are in SQLite in that folder, or in the PostgreSQL that ``DAGSTER_POSTGRES_URL`` names.
    """
    folder = home.absolute() / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    parts = ("dagster.yaml", "dagster.postgres.yaml")[: 2 if os.environ.get(_POSTGRES) else 1]
    text = "\n".join((ROOT / part).read_text() for part in parts)
    (folder / "dagster.yaml").write_text(text)
    os.environ["DAGSTER_HOME"] = str(folder)
    return folder
