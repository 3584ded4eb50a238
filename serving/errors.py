"""Every error a caller can be told about, and how it looks on the wire.

    ImgsearchError                 an answer with a code, a sentence, and nothing of our insides
    ├── BadInput                   the request is wrong; the message names the thing and the mend
    │   ├── BadImage               bytes that are no acceptable picture (``reason``: ``BadImage.REASONS``)
    │   └── BadAddress             a URL we will not fetch (not http(s), not a global address, ...)
    │       └── Unreachable        a URL whose host is not there, or hangs up; tomorrow it may answer
    ├── Unauthenticated            no API key, or one that is not taken
    ├── Forbidden                  an API key that may not do this
    ├── NotFound                   no such product, generation, model, key
    ├── ModelMismatch              vectors of one model against a generation of another
    ├── Unsupported                asked for what this installation's models cannot do
    │   └── TextSearchOff          a text, where the embedder has no text tower
    ├── Overloaded                 too much at once; try again after ``retry_after_s``
    │   └── RateLimited            more than this API key may ask
    ├── DeadlinePassed             the caller's time ran out, or could not be met
    ├── Unavailable                something this service leans on is not there (yet)
    ├── Unverified                 an artefact does not hash, size or load as its manifest says; never served
    ├── Conflict                   another writer moved the pointer first
    └── BadSettings                a setting is missing or contradicts another; names the key

``status_of`` is the one table from class to HTTP status and gRPC status. Anything that is not an
``ImgsearchError`` reaches a caller as ``INTERNAL`` with a fixed text and the request id.
"""

from typing import ClassVar

import grpc


class ImgsearchError(Exception):
    """An error whose message may be shown to the caller as it is."""

    code: ClassVar[str] = "internal"

    @property
    def message(self) -> str:
        return str(self)


class BadInput(ImgsearchError):
    code = "bad_input"


class BadImage(BadInput):
    """Bytes that cannot be accepted as a picture."""

    code = "bad_image"
    REASONS: ClassVar[frozenset[str]] = frozenset(
        {
            "empty",
            "too_many_bytes",
            "not_an_image",
            "format",
            "too_many_pixels",
            "too_small",
            "too_costly",
            "frames",
            "truncated",
        }
    )

    def __init__(self, reason: str, message: str) -> None:
        if reason not in self.REASONS:
            raise ValueError(f"{reason!r} is not one of {sorted(self.REASONS)}")
        super().__init__(message)
        self.reason = reason


class BadAddress(BadInput):
    code = "bad_address"


class Unreachable(BadAddress):
    """Of the URL's host, not of what this service leans on: whoever gave the URL can choose another."""


class Unauthenticated(ImgsearchError):
    code = "unauthenticated"


class Forbidden(ImgsearchError):
    code = "forbidden"


class NotFound(ImgsearchError):
    code = "not_found"


class ModelMismatch(ImgsearchError):
    code = "model_mismatch"


class Unsupported(ImgsearchError):
    code = "unsupported"


class TextSearchOff(Unsupported):
    code = "text_search_off"


class Overloaded(ImgsearchError):
    code = "overloaded"

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimited(Overloaded):
    code = "rate_limited"


class DeadlinePassed(ImgsearchError):
    code = "deadline_passed"


class Unavailable(ImgsearchError):
    code = "unavailable"

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unverified(ImgsearchError):
    code = "unverified"


class Conflict(ImgsearchError):
    code = "conflict"


class BadSettings(ImgsearchError):
    code = "bad_settings"


_STATUS: dict[type[ImgsearchError], tuple[int, grpc.StatusCode]] = {
    BadInput: (400, grpc.StatusCode.INVALID_ARGUMENT),
    Unauthenticated: (401, grpc.StatusCode.UNAUTHENTICATED),
    Forbidden: (403, grpc.StatusCode.PERMISSION_DENIED),
    NotFound: (404, grpc.StatusCode.NOT_FOUND),
    ModelMismatch: (503, grpc.StatusCode.FAILED_PRECONDITION),
    Unsupported: (501, grpc.StatusCode.UNIMPLEMENTED),
    Overloaded: (429, grpc.StatusCode.RESOURCE_EXHAUSTED),
    DeadlinePassed: (504, grpc.StatusCode.DEADLINE_EXCEEDED),
    Unavailable: (503, grpc.StatusCode.UNAVAILABLE),
    Unverified: (500, grpc.StatusCode.DATA_LOSS),
    Conflict: (409, grpc.StatusCode.ABORTED),
    BadSettings: (500, grpc.StatusCode.INTERNAL),
    ImgsearchError: (500, grpc.StatusCode.INTERNAL),
}


def status_of(error: ImgsearchError) -> tuple[int, grpc.StatusCode]:
    """The (HTTP status, gRPC status) of an error: those of the nearest class in the table."""
    for cls in type(error).__mro__:
        if cls in _STATUS:
            return _STATUS[cls]
    raise AssertionError("ImgsearchError itself is in the table")
