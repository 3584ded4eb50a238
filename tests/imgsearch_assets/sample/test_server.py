import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from imgsearch_assets.sample.catalogue import Sample
from imgsearch_assets.sample.change import add_bad_rows
from imgsearch_assets.sample.server import PictureServer


@pytest.fixture
async def server(drawn: Sample) -> AsyncIterator[PictureServer]:
    async with PictureServer(drawn.folder) as running:
        yield running


async def test_pictures_come_with_type_and_etag_and_are_not_sent_twice(
    server: PictureServer, drawn: Sample
) -> None:
    path = "/pictures/p000000-front.jpg"
    async with aiohttp.ClientSession(server.url) as client:
        async with client.get(path) as first:
            assert (first.status, first.headers["Content-Type"]) == (200, "image/jpeg")
            assert await first.read() == (drawn.folder / path.lstrip("/")).read_bytes()
        async with client.get(path, headers={"If-None-Match": first.headers["ETag"]}) as second:
            assert (second.status, await second.read()) == (304, b"")
        async with client.get("/_stats") as reply:
            stats = await reply.json()
    size = (drawn.folder / path.lstrip("/")).stat().st_size
    assert stats == {
        "requests": 2,
        "size_bytes": size,
        "most_connections": 1,
        "statuses": {"200": 1, "304": 1},
        "paths": {path: 2},
    }


@pytest.mark.parametrize(
    "path",
    [
        "/catalogue.duckdb",
        "/pictures/..%2Fcatalogue.duckdb",
        "/pictures",
        "/pictures/none.jpg",
        "/nothing",
        "/pictures/" + 5000 * "a",
    ],
)
async def test_nothing_but_pictures_is_served(server: PictureServer, path: str) -> None:
    async with aiohttp.ClientSession(server.url) as client, client.get(path) as reply:
        assert reply.status == 404


async def test_connections_are_counted(drawn: Sample) -> None:
    async with PictureServer(drawn.folder, latency_s=0.05) as server:
        connector = aiohttp.TCPConnector(limit=5)
        async with aiohttp.ClientSession(server.url, connector=connector) as client:

            async def fetch(number: int) -> None:
                async with client.get(f"/pictures/p{number % 6:06d}-front.jpg") as reply:
                    await reply.read()

            await asyncio.gather(*(fetch(number) for number in range(20)))
        assert server.stats.most_connections == 5
        assert server.stats.statuses == {200: 20}


async def test_hostile_files_are_served_too(sample: Sample) -> None:
    add_bad_rows(sample)
    async with PictureServer(sample.folder) as server, aiohttp.ClientSession(server.url) as client:
        async with client.get("/hostile/huge.png") as reply:
            assert (reply.status, reply.headers["Content-Type"]) == (200, "image/png")
        async with client.get("/hostile/text.jpg") as reply:
            assert (reply.status, reply.headers["Content-Type"]) == (200, "image/jpeg")


async def test_a_taken_port_is_an_error(server: PictureServer, drawn: Sample) -> None:
    with pytest.raises(OSError, match="in use"):
        async with PictureServer(drawn.folder, server.port):
            raise AssertionError("two servers on one port")


def test_as_a_process_it_says_where_it_listens_and_ends_on_sigterm(drawn: Sample) -> None:
    command = [sys.executable, "-m", "imgsearch_assets.sample.server", "--folder", str(drawn.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert re.fullmatch(r"listening on 127\.0\.0\.1:\d+\n", line)
        taken = subprocess.run(
            [*command, "--port", line.strip().rsplit(":", 1)[1]], capture_output=True, text=True, check=False
        )
        assert taken.returncode == 1
        assert re.fullmatch(r"cannot serve pictures on 127\.0\.0\.1:\d+: .*in use.*\n", taken.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "imgsearch_assets.sample.server", "--folder", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--folder" in done.stderr
