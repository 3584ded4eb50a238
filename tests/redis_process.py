"""A Redis server for tests, which can be killed, and started again with nothing in it."""

import subprocess
import time

from imgsearch_assets.local.processes import answers, free_port
from imgsearch_assets.local.redis_server import redis_command


class RedisProcess:
    def __init__(self) -> None:
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.start()

    def start(self) -> None:
        """At the same address as before."""
        self._server = subprocess.Popen(
            redis_command(self._port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not answers(self._port)():
            assert self._server.poll() is None
            time.sleep(0.01)

    def kill(self) -> None:
        self._server.kill()
        self._server.wait()
