"""Object stores for tests: of a folder or a bucket, by what people would set."""

from pathlib import Path

from serving.location import Bucket, parsed
from serving.object_store import LocalObjectStore, ObjectStore

# What a dead holder holds up others for.
LEASE_S = 1.5


def opened(place: str, cache: Path, within_s: float = 60.0) -> ObjectStore:
    """The store at ``place``: a folder, or ``gs://BUCKET/PREFIX`` with files in ``cache``."""
    where = parsed(place)
    if isinstance(where, Bucket):
        from serving.bucket.blobs import Blobs  # half a second, which a folder need not wait for
        from serving.bucket.files import Files
        from serving.bucket.store import BucketObjectStore

        return BucketObjectStore(Blobs(where, within_s), Files(cache, 2**30), LEASE_S)
    return LocalObjectStore(Path(place))
