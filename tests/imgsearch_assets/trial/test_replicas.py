"""Which replicas an address names."""

import asyncio

import pytest

from imgsearch_assets.local.processes import free_port
from imgsearch_assets.trial.replicas import find, host_of, wait
from serving.errors import Unverified
from serving.rpc.client import IN_THE_CLEAR


def found(address: str) -> list[str]:
    return asyncio.run(find(address))


def test_a_list_is_all_it_names() -> None:
    assert found("ipv4:10.0.0.1:50051,10.0.0.2:50051") == ["10.0.0.1:50051", "10.0.0.2:50051"]
    assert found("ipv6:[::1]:1,[::2]:2") == ["[::1]:1", "[::2]:2"]
    assert host_of("ipv4:10.0.0.1:50051") is None


def test_a_name_is_all_its_addresses() -> None:
    for address in ("localhost:50051", "dns:///localhost:50051", "dns:localhost:50051"):
        assert host_of(address) == "localhost"
        assert "127.0.0.1:50051" in found(address)
    assert found("127.0.0.1:7") == ["127.0.0.1:7"]
    assert found("nobody.invalid:7") == []


def test_who_is_not_there_is_named() -> None:
    def waited(address: str) -> None:
        asyncio.run(wait(address, "0123456789abcdef", 0.1, IN_THE_CLEAR))

    with pytest.raises(Unverified, match=r"^nobody.invalid:7 names no search service$"):
        waited("nobody.invalid:7")
    port = free_port()
    with pytest.raises(Unverified, match=rf"^1 of 1 search services do not serve it .*127.0.0.1:{port}: "):
        waited(f"127.0.0.1:{port}")
