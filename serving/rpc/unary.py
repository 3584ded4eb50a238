"""What lies around the behaviour of a method: interceptors, and all that they have to know of gRPC."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from serving.errors import BadInput

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Behaviour = Callable[[Any, Context], Awaitable[Any]]

# The platform's own services. Health and reflection answer whatever else is going on.
_OURS = "/imgsearch."


class UnaryInterceptor:
    """What runs around a call."""

    async def call(self, method: str, behaviour: Behaviour, request: Any, context: Context) -> Any:
        """The reply to ``/package.Service/Method``; ``behaviour`` is what lies further in."""
        raise NotImplementedError


class Interceptors(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Runs ``interceptors``, the outermost first, around every unary call of our own services.

    As one of gRPC's interceptors, not as many: each of those costs every call a step, health's too.
    """

    def __init__(self, interceptors: Sequence[UnaryInterceptor]) -> None:
        self._interceptors = interceptors
        # By method: what gRPC would have called, and what it calls instead.
        self._handlers: dict[str, tuple[Handler, Handler]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(_OURS):
            return handler
        known = self._handlers.get(method)
        if known is None or known[0] is not handler:
            known = self._handlers[method] = (handler, self._around(method, handler))
        return known[1]

    def _around(self, method: str, handler: Any) -> Handler:
        behaviour: Behaviour = partial(_parsed, handler.request_deserializer, handler.unary_unary)
        for interceptor in reversed(self._interceptors):
            behaviour = partial(interceptor.call, method, behaviour)
        return grpc.unary_unary_rpc_method_handler(
            behaviour,
            request_deserializer=None,  # bytes; see ``_parsed``
            response_serializer=partial(_encoded, handler.response_serializer),
        )


def _parsed(
    parse: Callable[[bytes], Any], behaviour: Behaviour, request: bytes, context: Context
) -> Awaitable[Any]:
    """Within the interceptors: gRPC would answer what is no message with its own words, and count nothing."""
    try:
        message = parse(request)
    except DecodeError:
        raise BadInput("the request is no message of the kind that this method takes") from None
    return behaviour(message, context)


def _encoded(serialize: Callable[[Any], bytes], reply: Any) -> bytes:
    """A behaviour may return its reply as bytes already: to put one together from messages can cost more."""
    return reply if isinstance(reply, bytes) else serialize(reply)
