"""Which addresses a picture may be fetched from: the public internet, and never what lies inside.

A name is resolved once, every answer is checked, and the checked address is the one that is dialled
(OWASP, Server Side Request Forgery Prevention). Special ranges: IANA registries of RFC 6890.
"""

import asyncio
import socket
from collections.abc import Set
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from serving.errors import BadAddress

MAX_URL_LENGTH = 2048

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
# Called global by the registries, but leading nowhere a shop keeps its pictures.
_REFUSED_V4 = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
# Protocol assignments, Teredo among them, and documentation, which not every version of ``ipaddress`` knows.
_REFUSED_V6 = (IPv6Network("2001::/23"), IPv6Network("3fff::/20"))


def is_global(address: str) -> bool:
    """Whether a literal IP address is on the public internet, also by way of what it carries inside."""
    try:
        return _is_global(ip_address(address.partition("%")[0]))
    except ValueError:
        return False


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return (
            address.is_global
            and not address.is_multicast
            and not any(address in network for network in _REFUSED_V4)
        )
    if address.ipv4_mapped is not None:
        return _is_global(address.ipv4_mapped)
    if address in _NAT64:
        return _is_global(IPv4Address(int(address) & 0xFFFF_FFFF))
    if address.sixtofour is not None:
        return _is_global(address.sixtofour)
    return (
        address in _GLOBAL_UNICAST
        and address.is_global
        and not any(address in network for network in _REFUSED_V6)
    )


class Guard:
    """Says which URLs may be fetched. ``allow_hosts`` (``host:port``) are exempt: local environment only."""

    def __init__(self, allow_hosts: Set[str] = frozenset()) -> None:
        self._allow_hosts = frozenset(allow_hosts)

    def exempt(self, host: str, port: int) -> bool:
        return f"{host}:{port}" in self._allow_hosts

    def url(self, text: str) -> URL:
        """The URL, checked but for what its name resolves to. Raises ``BadAddress``."""
        if len(text) > MAX_URL_LENGTH:
            raise BadAddress(f"the URL has {len(text):,} characters; at most {MAX_URL_LENGTH:,}")
        try:
            url = URL(text)
            host, port = url.host, url.port
        except ValueError as error:  # of a name that no IDNA makes, too
            raise BadAddress(f"not a URL: {error}") from None
        if url.scheme not in {"http", "https"}:
            raise BadAddress("the URL must begin with http:// or https://")
        if not host or port is None:
            raise BadAddress("the URL names no host")
        if url.user is not None or url.password is not None:
            raise BadAddress("the URL carries a user name or password")
        if self._is_literal(host) and not self.exempt(host, port) and not is_global(host):
            raise BadAddress(f"{host} is not a public address")
        return url

    @staticmethod
    def _is_literal(host: str) -> bool:
        try:
            ip_address(host.partition("%")[0])
        except ValueError:
            return False
        return True


class GuardedResolver(AbstractResolver):
    """Resolves names for aiohttp and refuses a name if any of its addresses is not public."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Every address of ``host``. Raises ``BadAddress``, or ``OSError`` when there is none."""
        try:
            infos = await asyncio.get_running_loop().getaddrinfo(
                host, port, family=family, type=socket.SOCK_STREAM
            )
        except ValueError:  # a label that is empty or too long
            raise BadAddress(f"{host} is not the name of a host") from None
        exempt = self._guard.exempt(host, port)
        results: list[ResolveResult] = []
        for found_family, _, proto, _, sockaddr in infos:
            address = str(sockaddr[0])
            if not exempt and not is_global(address):
                raise BadAddress(f"{host} does not lead to a public address")
            results.append(
                ResolveResult(
                    hostname=host,
                    host=address,
                    port=port,
                    family=found_family,
                    proto=proto,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )
        return results

    async def close(self) -> None:
        """Nothing is held."""
