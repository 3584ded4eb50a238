"""Serves a sample's pictures on loopback, so that the downloader downloads, and counts what it is asked for.

``/_stats`` answers with the counts as JSON. Conditional requests get 304 (RFC 9110, 13.1.2).
"""

import asyncio
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Annotated, Any, Self

import typer
from aiohttp import web

_STATS = "/_stats"
# What of a sample's folder is pictures; the tables beside them are nobody's business.
SERVED = frozenset({"pictures", "street", "photos", "hostile"})


# Longer ones are no file of a sample; the file system would refuse to look for them.
_MAX_PATH = 255


@dataclass
class Stats:
    """What was asked for since the start."""

    requests: int = 0
    size_bytes: int = 0
    most_connections: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    paths: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "size_bytes": self.size_bytes,
            "most_connections": self.most_connections,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "paths": dict(self.paths),
        }


class PictureServer:
    """``async with PictureServer(folder) as server``: pictures at ``server.url`` until the block ends.

    ``latency_s`` is added to every answer. Raises ``OSError`` when the port is taken.
    """

    def __init__(self, folder: Path, port: int = 0, latency_s: float = 0.0) -> None:
        self.stats = Stats()
        self.port = port
        self._folder = folder.absolute()
        self._latency_s = latency_s
        app = web.Application()
        app.router.add_get(_STATS, self._answer_stats)
        app.router.add_get("/{path:.+}", self._answer_picture)
        app.on_response_prepare.append(self._count)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _answer_stats(self, request: web.Request) -> web.Response:
        return web.json_response(self.stats.as_json())

    async def _answer_picture(self, request: web.Request) -> web.StreamResponse:
        self.stats.requests += 1
        self.stats.paths[request.path] += 1
        connections = len(self._runner.server.connections) if self._runner.server else 0
        self.stats.most_connections = max(self.stats.most_connections, connections)
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        return self._response(request.match_info["path"])

    async def _count(self, request: web.Request, response: web.StreamResponse) -> None:
        """Called when the headers go out: a file's status (200, 206, 304) is known only then."""
        if request.path != _STATS:
            self.stats.statuses[response.status] += 1
            self.stats.size_bytes += response.content_length or 0

    def _response(self, path: str) -> web.StreamResponse:
        parts = PurePosixPath(path).parts
        file = self._folder.joinpath(*parts)
        if parts[0] not in SERVED or ".." in parts or len(path) > _MAX_PATH or not file.is_file():
            return web.Response(status=404, text="no such picture\n")
        return web.FileResponse(file, chunk_size=256 * 1024)


async def serve(folder: Path, port: int, latency_s: float) -> None:
    """Serve until SIGTERM or SIGINT; says where, once it does."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with PictureServer(folder, port, latency_s) as server:
        print(f"listening on 127.0.0.1:{server.port}", flush=True)
        await stop.wait()


def main(
    folder: Annotated[Path, typer.Option(help="The sample's folder.", exists=True, file_okay=False)],
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 0,
    latency_ms: Annotated[float, typer.Option(help="Wait before each answer.", min=0)] = 0.0,
) -> None:
    """Serve a sample's pictures on 127.0.0.1."""
    try:
        asyncio.run(serve(folder, port, latency_ms / 1000))
    except OSError as error:
        typer.echo(f"cannot serve pictures on 127.0.0.1:{port}: {error.strerror or error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
