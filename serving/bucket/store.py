"""An object store in a bucket: what ``serving.object_store`` asks, of Google Cloud Storage."""

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import BinaryIO

from serving.bucket.blobs import Blobs, Head
from serving.bucket.files import Files
from serving.bucket.lease import Lease
from serving.errors import Conflict, NotFound, Unverified
from serving.object_store import check_key

# How long what its holder does not write any more is still held.
LEASE_S = 20.0

# Those that this thread is within.
_HELD: ContextVar[tuple[Lease, ...]] = ContextVar("leases", default=())


class BucketObjectStore:
    """A folder of a bucket. Safe for processes of any number of machines.

    A version is a generation. What is written within ``exclusive`` is refused with ``Conflict`` once another
    process may be in the block; a pointer also where that is not known here.
    """

    def __init__(self, blobs: Blobs, files: Files, lease_s: float = LEASE_S) -> None:
        self._blobs = blobs
        self._files = files
        self._lease_s = lease_s

    def close(self) -> None:
        self._blobs.close()

    def get(self, key: str) -> bytes:
        check_key(key)
        data = self._blobs.read(key)
        if data is None or (not data and not self._head(key)):
            raise _nothing(key)
        return data

    def put(self, key: str, data: bytes, *, sync: bool = True) -> None:
        check_key(key)
        self._check_leases()
        self._blobs.write(key, data)

    def sync(self) -> None:
        """Nothing: what was put is durable."""

    def exists(self, key: str) -> bool:
        check_key(key)
        return self._head(key) is not None

    def size(self, key: str) -> int:
        return self._known(key).size

    def age_s(self, key: str) -> float:
        return _age_s(self._known(key))

    def renew(self, key: str) -> None:
        self._known(key)
        self._check_leases()
        if not self._blobs.note_renewed(key, time.time()):
            raise _nothing(key)

    def list(self, prefix: str) -> Iterator[str]:
        return (name for name, _ in self.ages(prefix))

    def ages(self, prefix: str) -> Iterator[tuple[str, float]]:
        check_key(prefix)
        heads = self._blobs.heads(prefix)
        return ((name, _age_s(head)) for name, head in heads if not name.endswith("~"))

    def tidy(self, prefix: str, older_than_s: float) -> None:
        """Nothing: of an upload that was killed nothing is seen, and the bucket forgets it after a week."""

    def delete(self, key: str) -> None:
        check_key(key)
        self._check_leases()
        self._blobs.delete(key)

    @property
    def files(self) -> Path:
        return self._files.root

    def local_path(self, key: str) -> Path:
        for _ in range(3):
            head = self._known(key)
            with contextlib.suppress(_Changed):
                return self._files.file(key, head.generation, head.size, partial(self._copy, key, head))
        raise Conflict(f"{key} is changed all the time; it cannot be read as a file")

    def _copy(self, key: str, head: Head, file: BinaryIO) -> None:
        if not self._blobs.download(key, file, head.generation):
            raise _Changed
        if file.tell() != head.size:
            raise Unverified(f"{self.where(key)} has {head.size} bytes, {file.tell()} came")

    def forget_file(self, key: str) -> None:
        if (head := self._head(key)) is not None:
            self._files.forget(key, head.generation)

    def where(self, key: str) -> str:
        return f"{self._blobs.bucket}/{key}"

    def version(self, key: str) -> str | None:
        check_key(key)
        head = self._head(key)
        return None if head is None else str(head.generation)

    def compare_and_set(self, key: str, data: bytes, expected: str | None) -> str:
        check_key(key)
        replacing = self._place(key) if expected is None else int(expected)
        with contextlib.ExitStack() as noted:
            for lease in self._leases():
                noted.enter_context(lease.writing(key))
            return str(self._blobs.write(key, data, replacing))

    def _place(self, key: str) -> int:
        """The generation that the first object of that key replaces. Raises ``Conflict`` if it is there."""
        there = self._blobs.head(key)
        if there is not None and not there.void:
            raise Conflict(f"{key} was changed by another writer")
        return there.generation if there else 0

    @contextlib.contextmanager
    def exclusive(self, key: str) -> Iterator[None]:
        check_key(key)
        folder, _, name = key.rpartition("/")
        lease = Lease.taken(self._blobs, f"{folder}/.{name}.lock~".lstrip("/"), key, self._lease_s)
        _HELD.set((*_HELD.get(), lease))
        try:
            yield
        finally:
            _HELD.set(tuple(held for held in _HELD.get() if held is not lease))
            lease.free()

    def _leases(self) -> Iterator[Lease]:
        return (lease for lease in _HELD.get() if lease.blobs is self._blobs)

    def _check_leases(self) -> None:
        for lease in self._leases():
            lease.check()

    def _head(self, key: str) -> Head | None:
        head = self._blobs.head(key)
        return None if head is None or head.void else head

    def _known(self, key: str) -> Head:
        check_key(key)
        head = self._head(key)
        if head is None:
            raise _nothing(key)
        return head


class _Changed(Exception):
    """Another generation is there than was seen."""


def _age_s(head: Head) -> float:
    return max(0.0, time.time() - head.changed_at)


def _nothing(key: str) -> NotFound:
    return NotFound(f"there is no object {key}")
