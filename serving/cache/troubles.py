"""What is wrong between us and Redis, with the mend; never a part of the URL, which holds the password."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, OutOfMemoryError, ReadOnlyError

URL = "IMGSEARCH_REDIS_URL"


class Trouble(NamedTuple):
    """``stays`` is whether somebody has to mend it; else it may be over at the next try."""

    said: str
    stays: bool


def trouble(error: BaseException, setting: str = URL) -> Trouble:
    """Of what redis-py raised; ``setting`` has the URL."""
    for each in _causes(error):
        found = _known(each, setting)
        if found is not None:
            return found
    return Trouble(f"Redis does not answer ({type(error).__name__})", stays=False)


def wrong(url: str, setting: str = URL) -> str | None:
    """What is wrong with the URL of ``setting``, or with the file that it names; nobody is asked."""
    try:
        client = Redis.from_url(url)
        client.connection_pool.make_connection()
    except (ValueError, TypeError):
        return f"{setting} is none; one looks like redis://:PASSWORD@HOST:PORT/0"
    authority = client.get_connection_kwargs().get("ssl_ca_certs")
    if authority is None:
        return None
    try:
        Path(authority).read_bytes()
        ssl.create_default_context(cafile=authority)
    except ssl.SSLError:
        return f"ssl_ca_certs of {setting} holds no certificate as PEM: {authority}"
    except OSError as error:
        return f"ssl_ca_certs of {setting} cannot be read: {authority}: {error.strerror}"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """It and what it came of."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _known(error: BaseException, setting: str) -> Trouble | None:
    match error:
        case AuthenticationError():
            return Trouble(_refused(str(error), setting), stays=True)
        case NoPermissionError():
            return Trouble(f"the user of {setting} may not do what is needed in Redis; grant it", stays=True)
        case ReadOnlyError():
            return Trouble(f"Redis takes no writes: {setting} has to name the primary", stays=False)
        case OutOfMemoryError():
            return Trouble("Redis is full: give it more memory", stays=False)
        case ssl.SSLCertVerificationError():
            mend = (
                f"name who signed it in {setting}, as ssl_ca_certs, and the host as it is in the certificate"
            )
            return Trouble(f"Redis's certificate is not taken ({error.verify_message}): {mend}", stays=True)
        case ssl.SSLError():
            mend = "rediss:// is for a port with TLS, redis:// for others"
            return Trouble(f"Redis and {setting} do not agree on TLS: {mend}", stays=True)
        case FileNotFoundError() | PermissionError():
            return Trouble(f"ssl_ca_certs of {setting} cannot be read: {error.strerror}", stays=True)
        case ConnectionResetError():
            mend = f"if that goes on, it may want TLS: rediss:// in {setting}"
            return Trouble(f"Redis breaks the connection off; {mend}", stays=False)
        case _:
            return None


def _refused(said: str, setting: str) -> str:
    if "without any password" in said:
        return f"Redis has no password, and {setting} brings one: take it out, or set Redis's (AUTH)"
    if "invalid" in said:
        return f"Redis refuses the password of {setting}: put in the one that it has now"
    return f"Redis asks for a password (AUTH): put it into {setting}, rediss://:PASSWORD@HOST:PORT/0"
