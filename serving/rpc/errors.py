"""Errors on the wire: ours as a status with a code, all others as a fixed text and the request id."""

import logging
import re
from typing import Any, NoReturn

import grpc

from serving import telemetry
from serving.errors import (
    BadAddress,
    BadImage,
    BadInput,
    BadSettings,
    Conflict,
    DeadlinePassed,
    Forbidden,
    ImgsearchError,
    ModelMismatch,
    NotFound,
    Overloaded,
    RateLimited,
    TextSearchOff,
    Unauthenticated,
    Unavailable,
    Unsupported,
    Unverified,
    status_of,
)
from serving.rpc.unary import Behaviour, Context, UnaryInterceptor

log = logging.getLogger(__name__)

# Trailing metadata beside the status, from which a client makes the same error again.
CODE, REASON, RETRY_AFTER_S = "imgsearch-code", "imgsearch-reason", "imgsearch-retry-after-s"

# Even of four bytes each, and escaped, it is less than gRPC takes.
_MOST_CHARS = 500

# How gRPC says that a message is larger than the server's bound.
_TOO_LARGE = re.compile(r"larger than max \((\d+) vs\. (\d+)\)")

_BY_CODE: dict[str, type[ImgsearchError]] = {
    error.code: error
    for error in (
        ImgsearchError,
        BadInput,
        BadAddress,
        NotFound,
        ModelMismatch,
        Unsupported,
        TextSearchOff,
        DeadlinePassed,
        Unverified,
        Conflict,
        BadSettings,
    )
}


class Errors(UnaryInterceptor):
    """Turns what a servicer raises into a status."""

    async def call(self, method: str, behaviour: Behaviour, request: Any, context: Context) -> Any:
        try:
            return await behaviour(request, context)
        except ImgsearchError as error:
            await _abort(context, error)
        except grpc.aio.AbortError:
            raise
        except Exception:
            request_id = telemetry.request_id.get()
            log.exception("unexpected error")
            await _abort(context, ImgsearchError(f"internal error; request id {request_id}"))


async def _abort(context: Context, error: ImgsearchError) -> NoReturn:
    trailing = [(CODE, error.code)]
    if isinstance(error, BadImage):
        trailing.append((REASON, error.reason))
    if isinstance(error, Overloaded | Unavailable):
        trailing.append((RETRY_AFTER_S, f"{error.retry_after_s:g}"))
    await context.abort(status_of(error)[1], _short(error.message), tuple(trailing))


def _short(message: str) -> str:
    """A caller's text that an error repeats may be long; gRPC takes 8 KiB with all that is around it."""
    return message if len(message) <= _MOST_CHARS else f"{message[:_MOST_CHARS]}..."


def from_status(error: grpc.aio.AioRpcError) -> ImgsearchError:
    """The error that a call's status stands for.

    A status without our code comes from gRPC itself (nobody listens, the deadline passed, a message too
    large); its text may name addresses, so it gets one of ours.
    """
    metadata: Any = error.trailing_metadata() or ()  # pairs, whatever the stubs say
    trailing = {str(key): str(value) for key, value in metadata}
    code, message = trailing.get(CODE), error.details() or ""
    retry_after_s = float(trailing.get(RETRY_AFTER_S, 1.0))
    match code:
        case None:
            return _of_grpc(error.code(), message)
        case BadImage.code:
            return BadImage(trailing[REASON], message)
        case Overloaded.code:
            return Overloaded(message, retry_after_s)
        case RateLimited.code:
            return RateLimited(message, retry_after_s)
        case Unavailable.code:
            return Unavailable(message, retry_after_s)
        case Unauthenticated.code | Forbidden.code:  # our own key, of which our caller knows nothing
            log.error("a service behind this one refuses IMGSEARCH_SERVICE_KEY: %s", message)
            return Unavailable("a service behind this one refuses this one's API key")
        case _:
            return _BY_CODE.get(code, ImgsearchError)(message)


def _of_grpc(status: grpc.StatusCode, message: str) -> ImgsearchError:
    match status:
        case grpc.StatusCode.UNAVAILABLE:
            return Unavailable("a service behind this one cannot be reached")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlinePassed("the time for this request ran out")
        case grpc.StatusCode.RESOURCE_EXHAUSTED if sizes := _TOO_LARGE.search(message):
            return BadInput(f"the request has {sizes[1]} bytes; at most {sizes[2]} are taken")
        # A server's gRPC cancels what comes on top of more than it has looked at; see ``server``.
        case grpc.StatusCode.RESOURCE_EXHAUSTED | grpc.StatusCode.CANCELLED:
            return Overloaded("a service behind this one has too much to do")
        case grpc.StatusCode.INVALID_ARGUMENT:
            return BadInput(message)
        case grpc.StatusCode.NOT_FOUND:
            return NotFound(message)
        case grpc.StatusCode.FAILED_PRECONDITION:
            return ModelMismatch(message)
        case _:
            return ImgsearchError("internal error")
