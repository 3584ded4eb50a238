import asyncio
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import BadAddress
from serving.images.address import Guard, GuardedResolver, is_global

# IANA special-purpose registries (RFC 6890 and after), and multicast.
SPECIAL_V4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
]
SPECIAL_V6 = [
    "::/128",
    "::1/128",
    "::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]


@st.composite
def special_v4(draw: st.DrawFn) -> IPv4Address:
    network = IPv4Network(draw(st.sampled_from(SPECIAL_V4)))
    return network[draw(st.integers(0, network.num_addresses - 1))]


@st.composite
def special_v6(draw: st.DrawFn) -> IPv6Address:
    network = IPv6Network(draw(st.sampled_from(SPECIAL_V6)))
    return network[draw(st.integers(0, network.num_addresses - 1))]


@given(special_v4())
def test_no_special_address_is_global_nor_what_carries_it(address: IPv4Address) -> None:
    number = int(address)
    assert not is_global(str(address))
    assert not is_global(f"::ffff:{address}")
    assert not is_global(str(IPv6Address((0x0064FF9B << 96) | number)))  # NAT64
    assert not is_global(str(IPv6Address((0x2002 << 112) | (number << 80) | 1)))  # 6to4
    teredo = (0x20010000 << 96) | (number << 64) | (~number & 0xFFFFFFFF)
    assert not is_global(str(IPv6Address(teredo)))


@given(special_v6())
def test_no_special_address_of_version_6_is_global(address: IPv6Address) -> None:
    assert not is_global(str(address))
    assert not is_global(f"{address}%eth0")


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
)
def test_public_addresses_are_global(address: str) -> None:
    assert is_global(address)


def test_what_is_no_address_is_not_global() -> None:
    assert not is_global("localhost")
    assert not is_global("")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://shop.example/a.jpg", "the URL must begin with http:// or https://"),
        ("file:///etc/passwd", "the URL must begin with http:// or https://"),
        ("shop.example/a.jpg", "the URL must begin with http:// or https://"),
        ("", "the URL must begin with http:// or https://"),
        ("http:///a.jpg", "the URL names no host"),
        ("http://me:secret@shop.example/", "the URL carries a user name or password"),
        ("http://127.0.0.1/", "127.0.0.1 is not a public address"),
        ("http://[::1]:8000/", "::1 is not a public address"),
        ("http://[fe80::1%25eth0]/", "fe80::1%eth0 is not a public address"),
        ("http://169.254.169.254/computeMetadata/v1/", "169.254.169.254 is not a public address"),
        ("http://shop.example/" + "a" * 2048, "the URL has 2,068 characters; at most 2,048"),
        ("http://[::1", "not a URL: Invalid IPv6 URL"),
    ],
)
def test_what_is_no_url_to_fetch(url: str, message: str) -> None:
    with pytest.raises(BadAddress) as raised:
        Guard().url(url)
    assert raised.value.message == message


@given(st.text())
def test_any_text_is_a_url_or_bad_address(text: str) -> None:
    try:
        url = Guard().url("http://" + text)
    except BadAddress:
        return
    assert url.host


def test_only_the_allowed_host_and_port_are_exempt() -> None:
    guard = Guard(frozenset({"127.0.0.1:8000"}))
    assert str(guard.url("http://127.0.0.1:8000/a")) == "http://127.0.0.1:8000/a"
    for other in ("http://127.0.0.1:8001/a", "http://127.0.0.2:8000/a", "http://127.0.0.1/a"):
        with pytest.raises(BadAddress):
            guard.url(other)


def answers(monkeypatch: pytest.MonkeyPatch, *rounds: list[str]) -> None:
    """Make names resolve to each of ``rounds`` in turn."""
    left = list(rounds)

    async def getaddrinfo(
        self: asyncio.BaseEventLoop, host: str, port: int, **_: object
    ) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in left.pop(0)]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


async def test_a_name_with_one_inner_address_is_refused_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, ["8.8.8.8"], ["8.8.8.8", "10.0.0.1"])
    resolver = GuardedResolver(Guard())
    assert [found["host"] for found in await resolver.resolve("shop.example", 80)] == ["8.8.8.8"]
    with pytest.raises(BadAddress, match=r"^shop\.example does not lead to a public address$"):
        await resolver.resolve("shop.example", 80)


async def test_localhost_is_not_public_unless_allowed() -> None:
    with pytest.raises(BadAddress, match="localhost does not lead to a public address"):
        await GuardedResolver(Guard()).resolve("localhost", 80)
    allowed = GuardedResolver(Guard(frozenset({"localhost:80"})))
    assert await allowed.resolve("localhost", 80)
