"""Features that are known already, in Redis: of a picture, by its URL or its bytes.

On the way of a request what is damaged or of another layout reads as absent, as does everything when Redis
is away (``cache.values``). The pipeline, which has to know whether its writes arrived, uses the methods that
raise.
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import redis
from numpy.typing import NDArray
from redis.exceptions import RedisError

from serving.cache.pictures import PICTURE_TTL_S, PictureFeatures
from serving.cache.troubles import URL, trouble
from serving.cache.values import Values
from serving.errors import BadSettings, ImgsearchError, Unavailable
from serving.images.box import GRID, Box

# How long what a shopper's request computed is kept; what the pipeline wrote stays until it is replaced.
URL_TTL_S = 7 * 86_400
_LAYOUT = 1
_HEADER = struct.Struct("<BxHH")  # layout, boxes, dim; then the boxes as uint16 x 4, the rows as float16
_BATCH = 1_000
_PIPELINE_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class CachedFeatures:
    """Parts of a picture and their vectors, float32 (n, d), unit rows."""

    boxes: tuple[Box, ...]
    vectors: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.boxes):
            raise ValueError(f"{len(self.boxes)} boxes and vectors of shape {self.vectors.shape}")

    def to_bytes(self) -> bytes:
        grid = np.array([[box.x0, box.y0, box.x1, box.y1] for box in self.boxes]).reshape(-1, 4) * GRID
        return packed(grid.round().astype(np.uint16), self.vectors.astype(np.float16))

    def as_kept(self) -> Self:
        """What comes back of it from Redis, so that it is searched with the same before and after."""
        kept = self.from_bytes(self.to_bytes())
        if kept is None:
            raise ValueError("features that cannot be kept")
        return kept

    @classmethod
    def from_bytes(cls, data: bytes) -> Self | None:
        """What ``to_bytes`` wrote, rows again of unit length; None for anything else."""
        if len(data) < _HEADER.size:
            return None
        layout, count, dim = _HEADER.unpack_from(data)
        rows_at = _HEADER.size + count * 8
        if layout != _LAYOUT or len(data) != rows_at + count * dim * 2:
            return None
        grid = np.frombuffer(data, "<u2", count * 4, _HEADER.size).reshape(count, 4) / GRID
        rows = np.frombuffer(data, "<f2", count * dim, rows_at).reshape(count, dim).astype(np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if not (np.isfinite(rows).all() and (lengths > 0).all() and (grid <= 1).all()):
            return None
        if (grid[:, :2] >= grid[:, 2:]).any():
            return None
        return cls(tuple(Box(*map(float, row)) for row in grid), rows / lengths)


def packed(grid: NDArray[np.uint16], vectors: NDArray[np.float16]) -> bytes:
    """What ``CachedFeatures.from_bytes`` reads: boxes (n, 4) on the grid of ``Box``, and vectors (n, d)."""
    header = _HEADER.pack(_LAYOUT, *vectors.shape)
    return header + grid.astype("<u2").tobytes() + vectors.astype("<f2").tobytes()


def url_key(embedder: str, url: str) -> str:
    """Where the features of the picture at ``url`` lie; a URL can be long, so its hash."""
    return f"features:{embedder}:url:{hashlib.sha256(url.encode()).hexdigest()[:32]}"


def picture_key(embedder: str, detector: str, sha256: str) -> str:
    return f"features:{embedder}:picture:{detector}:{sha256}"


class FeatureStore:
    """Features at ``redis_url``. The coroutines never raise and take ``timeout_s`` at most.

    ``put_many`` and ``differing`` are the pipeline's: they block, take their time, and raise ``Unavailable``,
    or ``BadSettings`` for what Redis will refuse again; both name the ``setting`` that has the URL.
    """

    def __init__(self, redis_url: str, timeout_s: float, setting: str = URL) -> None:
        self._url, self._setting = redis_url, setting
        self.reads = {"hit": 0, "miss": 0}  # of requests; a store that is away has nothing
        self.values = Values(redis_url, timeout_s)

    async def get_url(self, embedder: str, url: str) -> CachedFeatures | None:
        data = await self.values.get(url_key(embedder, url))
        found = None if data is None else CachedFeatures.from_bytes(data)
        self.reads["miss" if found is None else "hit"] += 1
        return found

    async def get_picture(self, key: str) -> PictureFeatures | None:
        """At ``picture_key``."""
        data = await self.values.get(key)
        return None if data is None else PictureFeatures.from_bytes(data)

    async def put_picture(self, key: str, features: PictureFeatures) -> None:
        """Keep what a request computed, for ``PICTURE_TTL_S``."""
        await self.values.set(key, features.to_bytes(), PICTURE_TTL_S)

    async def put_url(self, embedder: str, url: str, features: CachedFeatures) -> None:
        """Keep what a request computed, for ``URL_TTL_S``."""
        await self.values.set(url_key(embedder, url), features.to_bytes(), URL_TTL_S)

    async def aclose(self) -> None:
        await self.values.aclose()

    def put_many(self, values: Mapping[str, bytes]) -> None:
        """Write values, as ``packed`` makes them, by ``url_key``.

        Raises when not all arrived; those that did stay.
        """
        with self._blocking() as client:
            for part in _parts(list(values)):
                try:
                    client.mset({key: values[key] for key in part})
                except (RedisError, OSError) as error:
                    raise self._ours(error, "not all was written") from error

    def differing(self, values: Mapping[str, bytes]) -> list[str]:
        """Those keys that, read back, have another value, or none. Raises."""
        found: list[str] = []
        with self._blocking() as client:
            for part in _parts(list(values)):
                try:
                    kept: Any = client.mget(part)
                except (RedisError, OSError) as error:
                    raise self._ours(error, "its values cannot be read back") from error
                found += [key for key, value in zip(part, kept, strict=True) if value != values[key]]
        return found

    def _blocking(self) -> redis.Redis:
        return redis.Redis.from_url(self._url, socket_timeout=_PIPELINE_TIMEOUT_S)

    def _ours(self, error: Exception, what: str) -> ImgsearchError:
        found = trouble(error, self._setting)
        if found.stays:
            return BadSettings(f"{found.said} (the feature store: {what})")
        return Unavailable(f"the feature store does not answer: {what} ({found.said})")


def _parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH))
