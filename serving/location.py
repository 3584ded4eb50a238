"""Where everything is kept: a folder, or a bucket of Google Cloud Storage. Decided here alone."""

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from serving.errors import BadSettings
from serving.object_store import LocalObjectStore, ObjectStore

if TYPE_CHECKING:
    from serving.settings import Settings

# https://cloud.google.com/storage/docs/buckets#naming; a name with dots may be longer, and is a domain's.
_BUCKET = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])((?:/[A-Za-z0-9_=.-]+)*)/?")


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, and the folder in it that is ours: empty for all of it."""

    name: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"gs://{self.name}/{self.prefix}".rstrip("/")


def parsed(text: object) -> object:
    """``gs://BUCKET/PREFIX`` as a ``Bucket``, anything else without a scheme as a folder."""
    if not isinstance(text, str):
        return text
    if found := _BUCKET.fullmatch(text):
        return Bucket(found[1], found[2].strip("/"))
    if not text or "://" in text:
        raise ValueError(f"{text!r} is neither a folder nor gs://BUCKET/PREFIX")
    return Path(text)


Location = Annotated[Bucket | Path, NoDecode, BeforeValidator(parsed)]


def place(settings: "Settings") -> Bucket | Path:
    """Where the installation's objects are."""
    return settings.objects or settings.home / "objects"


def open_store(settings: "Settings") -> ObjectStore:
    """The installation's objects. Raises ``BadSettings`` where they cannot be there, saying the mend."""
    objects = place(settings)
    if not isinstance(objects, Bucket):
        return LocalObjectStore(objects)
    return _bucket(objects, settings.home / "cache", settings.cache_bytes, os.getpid())


@lru_cache
def _bucket(bucket: Bucket, cache: Path, cache_bytes: int, process: int) -> ObjectStore:
    """One for each process: it keeps connections, which a fork must not share."""
    try:
        from serving.bucket.blobs import Blobs
        from serving.bucket.files import Files
        from serving.bucket.store import BucketObjectStore
    except ModuleNotFoundError:
        raise BadSettings(
            f"IMGSEARCH_OBJECTS is {bucket}: install the client of Google Cloud Storage, the extra `gcp`"
        ) from None

    return BucketObjectStore(Blobs(bucket), Files(cache, cache_bytes))
