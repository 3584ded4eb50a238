"""A Redis with TLS and AUTH, and everything that can be wrong between us and it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.certificates import Files
from tests.redis_process import SERVER, SecureRedis

PASSWORD = "hunter2-of-ours"  # noqa: S105
URL = "IMGSEARCH_REDIS_URL"
LACKING = "redis-server is not here (Debian: apt-get install redis-server); that of the wheel speaks no TLS"

_STRANGE = (
    "Redis's certificate is not taken (self-signed certificate in certificate chain): name who signed it "
    f"in {URL}, as ssl_ca_certs, and the host as it is in the certificate"
)
# What is said where somebody has to mend it, and where it may be over at the next try.
REFUSED = {
    "wrong password": f"Redis refuses the password of {URL}: put in the one that it has now",
    "no password": f"Redis asks for a password (AUTH): put it into {URL}, rediss://:PASSWORD@HOST:PORT/0",
    "wrong CA": _STRANGE,
    "no CA": _STRANGE,
}
PLAIN = f"Redis breaks the connection off; if that goes on, it may want TLS: rediss:// in {URL}"


@contextmanager
def secure_redis(folder: Path) -> Iterator[SecureRedis]:
    if SERVER is None:
        pytest.skip(LACKING)
    found = SecureRedis(Files(folder, "redis"), PASSWORD)
    yield found
    found.kill()


def urls(server: SecureRedis, folder: Path) -> dict[str, str]:
    """By what is wrong with them."""
    return {
        "wrong password": server.url_with(password="another"),
        "no password": server.url_with(password=""),
        "wrong CA": server.url_with(ca=Files(folder, "strange").ca),
        "no CA": server.url_with(ca=""),
        "plain": server.url_with("redis"),
    }
