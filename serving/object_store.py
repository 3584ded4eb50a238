"""Immutable objects under keys, and one kind of object that moves: a pointer, by compare-and-set.

A key is ``/``-separated. ``put`` is atomic: a reader sees the whole object or none. Here is the store that is
a folder; ``serving.bucket`` has the one that is a bucket, and ``serving.location`` says which it is.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from serving.errors import BadSettings, Conflict, NotFound

# Linux's own, which Python does not wrap: one file system at once, where os.sync() waits for all of them.
_SYNCFS = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
# Of a file that is being written. Not ending in a legal key's character, so that no listing shows it.
_HALF = ".half~"
_KEY = re.compile(r"[A-Za-z0-9_=.-]+(/[A-Za-z0-9_=.-]+)*")


class ObjectStore(Protocol):
    """What the platform asks of a store of bytes."""

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises ``NotFound``."""

    def put(self, key: str, data: bytes, *, sync: bool = True) -> None:
        """Write the object, atomically and durably; a same-named one is replaced.

        Without ``sync`` it may be lost with the machine's power until ``sync()`` was called: for many
        small objects at once.
        """

    def sync(self) -> None:
        """Return when everything that was put is durable."""

    def exists(self, key: str) -> bool: ...

    def size(self, key: str) -> int:
        """Bytes. Raises ``NotFound``."""

    def age_s(self, key: str) -> float:
        """Seconds since the object was written. Raises ``NotFound``."""

    def renew(self, key: str) -> None:
        """Begin the object's age anew: it is needed once more. Raises ``NotFound``."""

    def list(self, prefix: str) -> Iterator[str]:
        """Every key below the folder ``prefix``, in the order of their characters."""

    def ages(self, prefix: str) -> Iterator[tuple[str, float]]:
        """``list``, each key with its ``age_s``."""

    def tidy(self, prefix: str, older_than_s: float) -> None:
        """Remove what writers that were killed left below the folder ``prefix``."""

    def delete(self, key: str) -> None:
        """Remove the object if it is there."""

    @property
    def files(self) -> Path:
        """The folder below which every ``local_path`` lies."""

    def local_path(self, key: str) -> Path:
        """A file with the object's bytes that may be memory-mapped but not changed. Raises ``NotFound``.

        To be opened within minutes; it may go later on, as another file may come in its place.
        """

    def forget_file(self, key: str) -> None:
        """What ``local_path`` gave is not what it should be: where it is a copy, another is made next."""

    def where(self, key: str) -> str:
        """Where people find the object."""

    def version(self, key: str) -> str | None:
        """A token of the object's present content, None while there is none."""

    def compare_and_set(self, key: str, data: bytes, expected: str | None) -> str:
        """Write only if the object's version is still ``expected`` (None: absent); the new version.

        Raises ``Conflict`` when somebody else was first.
        """

    def exclusive(self, key: str) -> AbstractContextManager[None]:
        """A block that one thread of all processes is in at a time. It ends with its process, however."""


def check_key(key: str) -> None:
    """Raises ``NotFound`` where that cannot be the key of an object."""
    if not _KEY.fullmatch(key) or {".", ".."} & set(key.split("/")):
        raise NotFound(f"{key!r} is not a key of an object")


class LocalObjectStore:
    """A folder. Safe for several processes of one machine.

    Raises ``BadSettings`` when the folder cannot be made or written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadSettings(f"cannot make the object store folder {self.root}: {error.strerror}") from error
        if not os.access(self.root, os.W_OK):
            raise BadSettings(f"the object store folder {self.root} is not writable")

    def _path(self, key: str) -> Path:
        check_key(key)
        return self.root / key

    def get(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFound(f"there is no object {key}") from None

    def put(self, key: str, data: bytes, *, sync: bool = True) -> None:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=_HALF)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        if sync:
            with _folder(path.parent) as folder:  # which has the name
                os.fsync(folder)

    def sync(self) -> None:
        with _folder(self.root) as folder:
            if _SYNCFS is None:
                os.sync()
            elif _SYNCFS(folder) != 0:
                raise OSError(ctypes.get_errno(), "syncfs failed", str(self.root))

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def size(self, key: str) -> int:
        return self._stat(key).st_size

    def age_s(self, key: str) -> float:
        return time.time() - self._stat(key).st_mtime

    def _stat(self, key: str) -> os.stat_result:
        try:
            return self.local_path(key).stat()
        except FileNotFoundError:  # removed this moment
            raise NotFound(f"there is no object {key}") from None

    def renew(self, key: str) -> None:
        try:
            os.utime(self.local_path(key))
        except FileNotFoundError:  # removed this moment
            raise NotFound(f"there is no object {key}") from None

    def tidy(self, prefix: str, older_than_s: float) -> None:
        for path in self._path(prefix).rglob(f"*{_HALF}"):
            with contextlib.suppress(FileNotFoundError):  # written to the end meanwhile
                if path.is_file() and time.time() - path.stat().st_mtime > older_than_s:
                    path.unlink()

    def list(self, prefix: str) -> Iterator[str]:
        top = self._path(prefix)
        paths = (path for path in top.rglob("*") if path.is_file() and not path.name.endswith("~"))
        return iter(sorted(path.relative_to(self.root).as_posix() for path in paths))

    def ages(self, prefix: str) -> Iterator[tuple[str, float]]:
        for key in self.list(prefix):
            with contextlib.suppress(NotFound):  # removed this moment
                yield key, self.age_s(key)

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    @property
    def files(self) -> Path:
        return self.root

    def forget_file(self, key: str) -> None:
        """Nothing: it is the object itself."""

    def where(self, key: str) -> str:
        return str(self._path(key))

    def local_path(self, key: str) -> Path:
        path = self._path(key)
        if not path.is_file():
            raise NotFound(f"there is no object {key}")
        return path

    def version(self, key: str) -> str | None:
        check_key(key)
        try:
            return hashlib.sha256(self.get(key)).hexdigest()
        except NotFound:
            return None

    @contextlib.contextmanager
    def exclusive(self, key: str) -> Iterator[None]:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with (path.parent / f".{path.name}.lock~").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def compare_and_set(self, key: str, data: bytes, expected: str | None) -> str:
        with self.exclusive(key):
            if self.version(key) != expected:
                raise Conflict(f"{key} was changed by another writer")
            self.put(key, data)
        return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[int]:
    """A descriptor of it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
