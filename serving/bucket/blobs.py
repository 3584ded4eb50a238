"""The objects of a bucket, one request each: conditional, checked, within a deadline.

A name is a key, or what no key can be and no listing shows. What the client library retries it retries by its
own policy; every write says which generation it replaces or may be repeated as it is.
"""

import io
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

from google.api_core.exceptions import NotFound, PreconditionFailed
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY
from requests.adapters import HTTPAdapter

from serving.bucket.troubles import no_bucket, told
from serving.errors import Conflict
from serving.location import Bucket

T = TypeVar("T")

# How long the other side may be silent: to take a connection, and between two packets.
_SILENCE_S = (5.0, 30.0)
# How long a request is tried again where nobody says otherwise.
_WITHIN_S = 60.0
# Kept open for the threads that ask at once.
_CONNECTIONS = 64
# A resumable upload that breaks off goes on from the last of these.
_CHUNK_BYTES = 16 * 2**20

_HEADS = "items(name,generation,size,updated,metadata),nextPageToken"
_WRITER, _VOID, _RENEWED = "writer", "void", "renewed"


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of an object without reading it. ``generation`` is another one whenever it is written."""

    generation: int
    size: int
    changed_at: float  # seconds since 1970, by the bucket's clock; of its renewal by the renewer's
    notes: Mapping[str, str]
    # Holds the place of an object that is not there: see ``serving.bucket.lease``.
    void: bool


class Blobs:
    """Raises ``BadSettings`` where the bucket cannot be used, saying the mend; ``Unavailable`` later on."""

    def __init__(self, bucket: Bucket, within_s: float = _WITHIN_S) -> None:
        self.bucket = bucket
        self._retry = DEFAULT_RETRY.with_timeout(within_s)
        with told(bucket):
            self._client = storage.Client(project=None)  # none is needed
            for scheme in ("https://", "http://"):
                self._client._http.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
            self._bucket = self._client.bucket(bucket.name)
            try:
                next(iter(self._listed("", max_results=1)), None)
            except NotFound:
                raise no_bucket(bucket) from None

    def close(self) -> None:
        self._client.close()

    def head(self, name: str) -> Head | None:
        with told(self.bucket):
            blob = self._bucket.get_blob(self._full(name), timeout=_SILENCE_S, retry=self._retry)
        if blob is None:
            return None
        return _head(blob)

    def read(self, name: str) -> bytes | None:
        """The whole object, held to its checksum; None where it is not there. Raises ``Unverified``."""
        file = io.BytesIO()
        return file.getvalue() if self.download(name, file) else None

    def download(self, name: str, file: BinaryIO, generation: int | None = None) -> bool:
        """Write the object into ``file``, held to its checksum; whether it was there, in that generation.

        Raises ``Unverified``.
        """
        with told(self.bucket):
            try:
                self._bucket.blob(self._full(name)).download_to_file(
                    file,
                    raw_download=True,
                    checksum="crc32c",
                    if_generation_match=generation,
                    timeout=_SILENCE_S,
                    retry=self._retry,
                )
            except (NotFound, PreconditionFailed):
                return False
        return True

    def write(
        self,
        name: str,
        data: bytes,
        replacing: int | None = None,
        notes: Mapping[str, str] | None = None,
        *,
        void: bool = False,
        within_s: float | None = None,
    ) -> int:
        """Write the object if its generation is ``replacing``, 0 where it must not be there; the new one.

        None replaces whatever is there. Raises ``Conflict`` when it is another one.
        """
        writer = uuid.uuid4().hex
        retry, silence_s = self._retry, _SILENCE_S
        if within_s is not None:
            retry, silence_s = retry.with_timeout(within_s), (within_s, within_s)
        blob = self._bucket.blob(self._full(name), chunk_size=_CHUNK_BYTES)
        blob.metadata = {**(notes or {}), _WRITER: writer, **({_VOID: "1"} if void else {})}
        with told(self.bucket):
            try:
                blob.upload_from_file(
                    io.BytesIO(data),
                    size=len(data),
                    content_type="application/octet-stream",
                    checksum="crc32c",
                    if_generation_match=replacing,
                    timeout=silence_s,
                    retry=retry,
                )
            except PreconditionFailed:
                # Of a write whose answer was lost, the second attempt finds the first one there.
                there = self.head(name)
                if there is None or there.notes.get(_WRITER) != writer:
                    raise Conflict(f"{name} was changed by another writer") from None
                return there.generation
            except NotFound:
                raise no_bucket(self.bucket) from None
        return int(blob.generation)

    def note_renewed(self, name: str, at: float) -> bool:
        """Begin its age anew, in the same generation; whether it was there."""
        blob = self._bucket.blob(self._full(name))
        blob.metadata = {_RENEWED: repr(at)}
        return self._if_there(lambda: blob.patch(timeout=_SILENCE_S, retry=self._retry))

    def delete(self, name: str) -> None:
        """Remove the object if it is there."""
        blob = self._bucket.blob(self._full(name))
        self._if_there(lambda: blob.delete(timeout=_SILENCE_S, retry=self._retry))

    def heads(self, folder: str) -> Iterator[tuple[str, Head]]:
        """What lies below ``folder`` by its name, in the order of their characters; voids are left out."""
        own = len(self._full(""))
        with told(self.bucket):
            for blob in self._listed(f"{folder}/", fields=_HEADS):
                if not (head := _head(blob)).void:
                    yield blob.name[own:], head

    def _listed(self, prefix: str, **how: Any) -> Iterator[Any]:
        return iter(
            self._client.list_blobs(
                self._bucket, prefix=self._full(prefix), timeout=_SILENCE_S, retry=self._retry, **how
            )
        )

    def _if_there(self, ask: Callable[[], object]) -> bool:
        with told(self.bucket):
            try:
                ask()
            except NotFound:
                return False
        return True

    def _full(self, name: str) -> str:
        return f"{self.bucket.prefix}/{name}" if self.bucket.prefix else name


def _head(blob: Any) -> Head:
    notes = blob.metadata or {}
    changed_at = max(blob.updated.timestamp(), float(notes.get(_RENEWED, 0)))
    return Head(blob.generation, blob.size, changed_at, notes, _VOID in notes)
