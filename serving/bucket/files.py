"""Copies of objects that have to be files, in a folder of a bounded size that processes share.

A file is named by what it holds: a key and its generation, which have one content for ever. So a copy that is
there is right, and nothing in the folder ever changes: it comes whole, and goes.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from serving.errors import BadSettings

log = logging.getLogger(__name__)

# Whoever was given a path may take so long to open it.
_OPENED_WITHIN_S = 600.0
# No download takes longer; the rest of one that was killed.
_HALF_S = 86_400.0
_HALF = ".half~"


class Files:
    """At most about ``max_bytes`` below ``root``: more only while more is needed at once.

    Raises ``BadSettings`` when the folder cannot be made.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        self.root = root.absolute()
        self._max_bytes = max_bytes
        self._unseen: int | None = None  # bytes that came since it was last looked through
        try:
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadSettings(
                f"cannot make the folder {self.root} for files of the bucket: {error.strerror}"
            ) from error

    def file(self, key: str, generation: int, size: int, fetch: Callable[[BinaryIO], None]) -> Path:
        """The copy, which ``fetch`` writes where there is none yet; one of all processes does."""
        path = self._path(key, generation)
        if _used(path):
            return path
        path.parent.mkdir(exist_ok=True)
        with self._alone(path.parent.name):
            if not _used(path):
                self._make_room(size)
                self._fill(path, fetch)
        return path

    def forget(self, key: str, generation: int) -> None:
        self._path(key, generation).unlink(missing_ok=True)

    def _path(self, key: str, generation: int) -> Path:
        name = hashlib.sha256(f"{key}#{generation}".encode()).hexdigest()[:32]
        return self.root / name[:2] / f"{name}{Path(key).suffix}"

    def _fill(self, path: Path, fetch: Callable[[BinaryIO], None]) -> None:
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=_HALF)
        try:
            with os.fdopen(handle, "wb") as file:
                fetch(file)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _make_room(self, size: int) -> None:
        """Remove what was not used for longest; looks through the folder after each part of what it holds."""
        part = self._max_bytes // 16
        if self._unseen is not None and self._unseen + size <= part:
            self._unseen += size
            return
        with self._alone("room"):
            files = sorted(self._there())
            room = self._max_bytes - part - size - sum(held for _, held, _ in files)
            for used_at, held, path in files:
                if room >= 0:
                    break
                if time.time() - used_at < _OPENED_WITHIN_S:
                    log.warning(
                        "the files in use take more than IMGSEARCH_CACHE_BYTES, %d: %s is fuller",
                        self._max_bytes,
                        self.root,
                    )
                    break
                path.unlink(missing_ok=True)
                room += held
        self._unseen = size

    def _there(self) -> Iterator[tuple[float, int, Path]]:
        """When each copy was used last, and its bytes; what killed downloads left is removed."""
        for path in self.root.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):  # forgotten this moment
                found = path.stat()
                if not path.name.endswith(_HALF):
                    yield found.st_mtime, found.st_size, path
                elif time.time() - found.st_mtime > _HALF_S:
                    path.unlink()

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """A block that one thread of all processes of this machine is in at a time."""
        with (self.root / "locks" / name).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _used(path: Path) -> bool:
    """Whether it is there; then it was used just now."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True
