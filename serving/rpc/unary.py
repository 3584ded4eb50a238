"""What an interceptor has to know of gRPC: it wraps the behaviour of one method."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Behaviour = Callable[[Any, Context], Awaitable[Any]]

# The platform's own services. Health and reflection answer whatever else is going on.
_OURS = "/imgsearch."


class UnaryInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Runs ``call`` around every unary call of our own services."""

    async def call(self, method: str, behaviour: Behaviour, request: Any, context: Context) -> Any:
        """The reply to ``/package.Service/Method``; ``behaviour`` is what lies further in."""
        raise NotImplementedError

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        handler: Any = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(_OURS):
            return handler  # type: ignore[no-any-return]
        behaviour: Behaviour = handler.unary_unary

        async def around(request: Any, context: Context) -> Any:
            return await self.call(method, behaviour, request, context)

        return grpc.unary_unary_rpc_method_handler(
            around,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
