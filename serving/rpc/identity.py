"""Who calls: the API key in the metadata of a call."""

from typing import Any

from serving import telemetry
from serving.identity.following import KnownKeys
from serving.rpc.unary import Behaviour, Context, UnaryInterceptor

AUTHORIZATION = "authorization"
_BEARER = "bearer "


class Identity(UnaryInterceptor):
    """Lets calls through that bring a key of scope ``search``; a client's certificate is none."""

    def __init__(self, known: KnownKeys) -> None:
        self._known = known

    async def call(self, method: str, behaviour: Behaviour, request: Any, context: Context) -> Any:
        sent = None
        metadata: Any = context.invocation_metadata() or ()
        for name, value in metadata:
            if name == AUTHORIZATION and isinstance(value, str) and value[:7].lower() == _BEARER:
                sent = value[7:]
                break
        telemetry.caller.set(self._known.holder(sent, "search").id)
        return await behaviour(request, context)
