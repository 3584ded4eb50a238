"""The pages of one search: what a cursor says, and that it is of this search.

A cursor is opaque to the caller: base64url of a version, where the page before ended (search.proto's After),
and a hash of this and of what was asked. It is no secret, and leads nobody farther than ``max_depth``.
"""

import hashlib
import math
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import orjson

from serving.errors import BadInput
from serving.images.box import Box
from serving.index.after import mark
from serving.index.collapse import Collapse
from serving.proto import search_pb2

# Of the longest: every product of ``Settings.max_depth``'s most has the same score.
MAX_CHARS = 6_000
PATTERN = "^[A-Za-z0-9_-]*$"

_VERSION = 1
_HEAD = struct.Struct("<BfHH")  # version, score, shown, tied; then the tied, the generation, the hash
_HASH_BYTES = 8
_UNKNOWN = "cursor is not one that this search gave"


@dataclass(frozen=True, slots=True)
class Page:
    """The page behind ``after`` of the search that ``asked`` is the fingerprint of; None: the first one."""

    asked: bytes
    after: search_pb2.After | None
    most: int

    @classmethod
    def of(cls, asked: bytes, cursor: str | None, most: int) -> "Page":
        """Raises ``BadInput`` for a cursor that no page of this search gave. ``most`` is of all pages."""
        after = None if cursor is None else _read(asked, cursor)
        # Its hash is for mistakes: whoever knows what was asked can make one of his own.
        if after is not None and not (0 < after.shown < most and math.isfinite(after.score)):
            raise BadInput(_UNKNOWN)
        return cls(asked, after, most)

    def held(self, k: int) -> int:
        """As many of ``k`` as there may still be shown."""
        return k if self.after is None else min(k, self.most - self.after.shown)

    def following(self, reply: search_pb2.SearchReply) -> str | None:
        """The cursor of the page behind this one, None when there is none."""
        (result,) = reply.results
        after, hits = self.after, result.hits
        shown = len(hits) + (after.shown if after else 0)
        if result.exhausted or not hits or shown >= self.most:
            return None
        score = hits[-1].score
        last = takewhile(lambda hit: hit.score == score, reversed(hits))
        tied = [mark(hit.product.product_id) for hit in last]
        if after and after.score == score:
            tied += after.tied
        payload = _HEAD.pack(_VERSION, score, shown, len(tied)) + struct.pack(f"<{len(tied)}I", *tied)
        payload += reply.generation.encode()
        return urlsafe_b64encode(payload + _hash(self.asked, payload)).rstrip(b"=").decode()


FIRST = Page(b"", None, 0)


def fingerprint(
    kind: str, what: str | bytes, wanted: search_pb2.Filter, box: Box | None, collapse: Collapse
) -> bytes:
    """Of what is asked for, but for how much of it. Of what is a list the order does not matter."""
    data = what.encode("utf-8", "surrogatepass") if isinstance(what, str) else what
    filters = {
        field.name: value if isinstance(value, bool | int) else sorted(value)
        for field, value in wanted.ListFields()
    }
    said = [kind, hashlib.sha256(data).hexdigest(), filters, "" if box is None else box.key, collapse]
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest()


def _hash(asked: bytes, payload: bytes) -> bytes:
    return hashlib.blake2b(payload, key=asked, digest_size=_HASH_BYTES).digest()


def _read(asked: bytes, cursor: str) -> search_pb2.After:
    try:
        data = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        payload, found = data[:-_HASH_BYTES], data[-_HASH_BYTES:]
        version, score, shown, count = _HEAD.unpack_from(payload)
        if version != _VERSION or found != _hash(asked, payload):
            raise ValueError
        tied: Sequence[int] = struct.unpack_from(f"<{count}I", payload, _HEAD.size)
        generation = payload[_HEAD.size + 4 * count :].decode()
    except (ValueError, struct.error):
        raise BadInput(_UNKNOWN) from None
    return search_pb2.After(generation=generation, score=score, tied=tied, shown=shown)
