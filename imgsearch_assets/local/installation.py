"""An installation on one machine: its folder, its ports, and the processes that make it up."""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imgsearch_assets.local.processes import port_is_free
from serving.errors import BadInput, BadSettings
from serving.location import open_store
from serving.object_store import LocalObjectStore, ObjectStore
from serving.settings import Settings, read

# A thousand products with their pictures, an index and Dagster's records take about a third of this.
MIN_FREE_BYTES = 1 * 2**30


@dataclass(frozen=True)
class Ports:
    """TCP ports of 127.0.0.1 that people see. The services behind them take free ones."""

    api: int = 8080
    dagster: int = 3000
    pictures: int = 8090  # 0 where there is no sample to serve

    def check(self) -> None:
        """Raise ``BadSettings`` naming the first port that is taken and the option that moves it."""
        for name in ("api", "dagster", "pictures"):
            port = getattr(self, name)
            if not port_is_free(port):
                raise BadSettings(f"port {port} is taken; free it or choose another with --{name}-port")


def check_home(home: Path) -> None:
    """Make the folder. Raise ``BadSettings`` when it cannot be written or its disk is nearly full."""
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSettings(
            f"cannot make the folder {home}: {error.strerror}; choose another with --home"
        ) from error
    if not os.access(home, os.W_OK):
        raise BadSettings(f"the folder {home} is not writable; choose another with --home")
    free = shutil.disk_usage(home).free
    if free < MIN_FREE_BYTES:
        raise BadSettings(
            f"{free / 2**20:.0f} MiB are free for {home}, {MIN_FREE_BYTES / 2**20:.0f} MiB are needed; "
            "free some or choose another folder with --home"
        )


def objects_of(home: Path) -> ObjectStore:
    """The object store of an installation that is there; a slip of the pen makes no folder.

    Raises ``BadInput``; ``BadSettings`` where IMGSEARCH_OBJECTS is none.
    """
    settings = read(Settings, home=home.resolve())
    if settings.objects is not None:
        return open_store(settings)
    objects = home.resolve() / "objects"
    if not objects.is_dir():
        there = sorted(str(folder.parent) for folder in home.resolve().glob("*/objects"))
        which = f": {' or '.join(there)}" if there else ""
        raise BadInput(f"{objects} is not there; expected is the folder of an installation (--home){which}")
    return LocalObjectStore(objects)


@contextmanager
def only_one(home: Path, option: str = "--home") -> Iterator[None]:
    """Hold the folder, made where it is not there, while the block runs; ``option`` is what chose it.

    Raises ``BadSettings`` when another process holds it.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        file = (home / "lock").open("a+")
    except OSError as error:
        said = f"cannot work in the folder {home}: {error.strerror}; choose another with {option}"
        raise BadSettings(said) from None
    with file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read() or "unknown"
            raise BadSettings(
                f"process {owner} already works in {home}; stop it or choose another with {option}"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def python_module(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with this very interpreter."""
    return [sys.executable, "-m", module, *arguments]
