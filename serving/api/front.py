"""An application behind a port: uvicorn as this platform runs it."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from serving import tls
from serving.api.protocol import BoundedHttp
from serving.errors import BadSettings
from serving.settings import Settings


class Front(uvicorn.Server):
    """Says when it listens, and leaves the signals to us: uvicorn itself would end with the signal.

    Raises ``BadSettings`` where it cannot listen, or a certificate cannot be used.
    """

    def __init__(self, app: FastAPI, settings: Settings, port: int, ready: Callable[[str], None]) -> None:
        tls.check_https(settings)
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedHttp,
                ws="none",
                log_config=None,  # its records go where all others go
                access_log=False,  # the application writes its own, with request ids
                timeout_graceful_shutdown=int(settings.request_timeout_s) + 1,
                ssl_certfile=settings.https_certificate,
                ssl_keyfile=settings.https_key,
            )
        )
        self.app = app
        self._host = settings.host
        self._ready = ready
        # Named as TCP: else asyncio does not see that it is, and the end of an answer waits 40 ms for the
        # acknowledgement of its head.
        self.listener = socket.socket(proto=socket.IPPROTO_TCP)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.listener.bind((settings.host, port))
        except OSError as error:
            self.listener.close()
            raise BadSettings(f"cannot listen on {settings.host}:{port}: {error.strerror}") from None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready(f"{self._host}:{self.listener.getsockname()[1]}")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
