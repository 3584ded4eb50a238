"""A server before another, on loopback, that does what a network does, or answers in the other's stead."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Request:
    """What came; ``path`` has the query."""

    method: str
    path: str
    body: bytes


# Status, headers and body.
Answer = tuple[int, list[tuple[str, str]], bytes]
# Of a request and what asks the server behind: what is answered, None to hang up.
Meddle = Callable[[Request, Callable[[], Answer]], Answer | None]


@contextmanager
def between(meddle: Meddle, behind: Callable[[str], str] | None = None) -> Iterator[str]:
    """A server's URL; ``meddle`` says its answers. ``behind`` makes of this URL that of the one behind."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def ask() -> Answer:
                asked = http.client.HTTPConnection(there.removeprefix("http://"), timeout=60)
                asked.request(self.command, self.path, body, dict(self.headers))
                reply = asked.getresponse()
                answer = (reply.status, reply.getheaders(), reply.read())
                asked.close()
                return answer

            said = meddle(Request(self.command, self.path, body), ask)
            if said is None:
                self.close_connection = True
                return
            status, headers, data = said
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "transfer-encoding"):
                    self.send_header(name, value.replace(there, url) if name == "Location" else value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    url = f"http://127.0.0.1:{server.server_port}"
    there = behind(url) if behind else url
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()
