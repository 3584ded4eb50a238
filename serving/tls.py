"""Certificates and keys from the files that the settings name, read when a process starts.

Each is tried before it is used: gRPC takes anything, and says nothing when it cannot be used.
"""

import ssl
from pathlib import Path

import grpc

from serving.errors import BadSettings
from serving.settings import Settings


def server_credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """Of the gRPC servers, None where they speak in the clear. Raises ``BadSettings``."""
    pair = _pair(settings, "tls_certificate", "tls_key")
    if pair is None:
        return None
    ca = _ca(settings, "tls_client_ca")
    certificate, key = pair
    return grpc.ssl_server_credentials([(key, certificate)], ca, require_client_auth=ca is not None)


def channel_credentials(settings: Settings) -> grpc.ChannelCredentials | None:
    """Of the channels to them, None likewise. Raises ``BadSettings``."""
    ca = _ca(settings, "tls_ca")
    if ca is None:
        return None
    certificate, key = _pair(settings, "tls_client_certificate", "tls_client_key") or (None, None)
    return grpc.ssl_channel_credentials(ca, key, certificate)


def check_https(settings: Settings) -> None:
    """Whether uvicorn can use what the settings name for HTTPS. Raises ``BadSettings``."""
    _pair(settings, "https_certificate", "https_key")


def _pair(settings: Settings, certificate: str, key: str) -> tuple[bytes, bytes] | None:
    """A certificate chain and its private key, which belong together."""
    paths: list[Path | None] = [getattr(settings, certificate), getattr(settings, key)]
    if paths[0] is None or paths[1] is None:
        return None
    data = _read(paths[0], certificate), _read(paths[1], key)
    try:
        # A password would be asked for at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(paths[0], paths[1], password="")
    except (ssl.SSLError, ValueError):
        raise BadSettings(
            f"{_named(certificate)} and {_named(key)} are no certificate and its private key, as PEM and "
            "without a password"
        ) from None
    return data


def _ca(settings: Settings, name: str) -> bytes | None:
    path: Path | None = getattr(settings, name)
    if path is None:
        return None
    data = _read(path, name)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise BadSettings(f"{_named(name)} holds no certificate as PEM: {path}") from None
    return data


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadSettings(f"{_named(name)} cannot be read: {path}: {error.strerror}") from None


def _named(name: str) -> str:
    return f"IMGSEARCH_{name.upper()}"
