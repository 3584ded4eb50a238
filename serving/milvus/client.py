"""Calls to Milvus: each has a deadline, and fails in one way."""

import logging
import threading
from typing import Any

import grpc
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from serving.errors import BadSettings, Unavailable
from serving.settings import Settings

log = logging.getLogger(__name__)

# It writes a page about each failed call, also of those that are expected here; set after its import, which
# configures logging itself.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)

# Milvus's own codes: what is asked for by name is not there (a collection; an alias), the connection failed.
_NOT_THERE = (100, 1600)
_NO_CONNECTION = 2

# pymilvus makes a new channel when one fails; sharing the old one's connection it would also share how long
# that waits before it tries again, up to two minutes.
_OPTIONS = {"grpc.use_local_subchannel_pool": 1}


class Client:
    """Connects when it is first needed, and again after Milvus was away. May be used by many threads.

    ``uri`` is http(s)://host:port, or a file ``*.db`` for milvus-lite, which only one process can open.
    """

    def __init__(self, uri: str, token: str | None, timeout_s: float) -> None:
        self._uri = uri
        self._token = token or ""
        self._timeout_s = timeout_s
        self._connecting = threading.Lock()
        self._connected: MilvusClient | None = None

    def call(self, method: str, *args: Any, timeout_s: float | None = None, **kwargs: Any) -> Any:
        """What ``MilvusClient.<method>`` returns, within ``timeout_s`` or the client's own deadline.

        Raises ``Unavailable``.
        """
        try:
            return self._call(method, *args, timeout_s=timeout_s, **kwargs)
        except (MilvusException, grpc.RpcError) as error:
            raise _unavailable(method, error) from error

    def target_of(self, alias: str) -> str | None:
        """The collection an alias leads to, None where there is no such alias. Raises ``Unavailable``."""
        try:
            return str(self._call("describe_alias", alias)["collection_name"])
        except (MilvusException, grpc.RpcError) as error:
            if isinstance(error, MilvusException) and error.code in _NOT_THERE:
                return None
            raise _unavailable("describe_alias", error) from error

    def close(self) -> None:
        with self._connecting:
            connected, self._connected = self._connected, None
        if connected is not None:
            connected.close()

    def _call(self, method: str, *args: Any, timeout_s: float | None = None, **kwargs: Any) -> Any:
        timeout = self._timeout_s if timeout_s is None else timeout_s
        return getattr(self._client(), method)(*args, timeout=timeout, **kwargs)

    def _client(self) -> MilvusClient:
        with self._connecting:
            if self._connected is None:
                self._connected = MilvusClient(
                    self._uri, token=self._token, timeout=self._timeout_s, grpc_options=_OPTIONS
                )
            return self._connected


def client_of(settings: Settings) -> Client:
    """The client that the settings describe. Raises ``BadSettings`` without a URI."""
    if settings.milvus_uri is None:
        raise BadSettings("IMGSEARCH_MILVUS_URI is not set")
    token = settings.milvus_token.get_secret_value() if settings.milvus_token else None
    return Client(settings.milvus_uri.get_secret_value(), token, settings.milvus_timeout_s)


def _unavailable(method: str, error: Exception) -> Unavailable:
    """In our words: Milvus's name addresses and expressions."""
    what = method.replace("_", " ")
    code = error.code() if isinstance(error, grpc.RpcError) else getattr(error, "code", None)
    if code == _NO_CONNECTION or isinstance(code, grpc.StatusCode):
        return Unavailable(f"Milvus does not answer: {what}")
    log.error("Milvus refuses: %s: %s", what, error)
    return Unavailable(f"Milvus refuses: {what}")
