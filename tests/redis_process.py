"""Redis servers for tests, which can be killed, and started again with nothing in them."""

import shutil
import subprocess
import time

from imgsearch_assets.local.processes import answers, free_port
from imgsearch_assets.local.redis_server import redis_command
from tests.certificates import Files


class RedisProcess:
    def __init__(self) -> None:
        self._port = free_port()
        self._command = redis_command(self._port)
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.start()

    def start(self) -> None:
        """At the same address as before."""
        self._server = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not answers(self._port)():
            assert self._server.poll() is None
            time.sleep(0.01)

    def kill(self) -> None:
        self._server.kill()
        self._server.wait()


# The server of the wheel speaks no TLS; `make test` installs Debian's where it may.
SERVER = shutil.which("redis-server")


class SecureRedis(RedisProcess):
    """As Memorystore with TLS and AUTH: one port, which speaks TLS, and a password."""

    def __init__(self, files: Files, password: str) -> None:
        assert SERVER is not None
        self._port, self._files, self.password = free_port(), files, password
        certificate, key = files.server
        said = {
            "bind": "127.0.0.1",
            "port": 0,
            "tls-port": self._port,
            "tls-cert-file": certificate,
            "tls-key-file": key,
            "tls-ca-cert-file": files.ca,
            "tls-auth-clients": "no",
            "requirepass": password,
            "save": "",
            "appendonly": "no",
        }
        self._command = [
            SERVER,
            *(word for name, value in said.items() for word in (f"--{name}", str(value))),
        ]
        self.url = self.url_with()
        self.start()

    def url_with(self, scheme: str = "rediss", password: str | None = None, ca: object = None) -> str:
        """As the secret of k8s/README.md has it, with something else in it."""
        secret = self.password if password is None else password
        who = f":{secret}@" if secret else ""
        authority = self._files.ca if ca is None else ca
        options = f"?ssl_ca_certs={authority}" if scheme == "rediss" and authority else ""
        return f"{scheme}://{who}127.0.0.1:{self._port}/0{options}"
