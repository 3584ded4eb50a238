"""The shop of the download benchmark: product pictures over HTTP on loopback, in a process of its own.

    python -m benchmarks._picture_server --pictures 1500 --latency-ms 10

Prints the port, then serves ``/<n>.jpg``. ``/_stats`` says what was asked for, in how many connections at
once, and when; ``/_reset`` starts the count anew.
"""

import argparse
import asyncio
import io
import struct
import time

import numpy as np
from aiohttp import web
from PIL import Image, ImageFilter

DIFFERENT = 48


def product_picture(seed: int) -> bytes:
    """A garment-like thing on white, 600 x 720, some 30 KB: a woven texture in a soft light."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:720, 0:600].astype(np.float32)
    weave = 18 * np.sin(x / rng.uniform(2, 6)) * np.sin(y / rng.uniform(2, 6))
    light = 60 * np.exp(-(((x - 250) / 260) ** 2 + ((y - 240) / 320) ** 2))
    colour = rng.uniform(20, 180, 3).astype(np.float32)
    cloth = colour + (weave + light + rng.normal(0, 4, x.shape))[..., None]
    inside = ((np.abs(x - 300) / 210) ** 4 + (np.abs(y - 360) / 280) ** 4 < 1)[..., None]
    picture = Image.fromarray(np.where(inside, cloth, 246).clip(0, 255).astype(np.uint8))
    sink = io.BytesIO()
    picture.filter(ImageFilter.GaussianBlur(0.6)).save(sink, "JPEG", quality=88)
    return sink.getvalue()


def marked(jpeg: bytes, number: int) -> bytes:
    """The same pixels as different bytes: a comment segment behind the first marker."""
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">HI", 6, number) + jpeg[2:]


class Shop:
    """Answers, and counts."""

    def __init__(self, pictures: int, latency_s: float) -> None:
        kinds = [product_picture(seed) for seed in range(DIFFERENT)]
        self._bodies = [marked(kinds[n % DIFFERENT], n) for n in range(pictures)]
        self._latency_s = latency_s
        self.runner: web.AppRunner
        self._clear()

    def _clear(self) -> None:
        self._requests, self._most_connections = 0, 0
        self._first, self._last = 0.0, 0.0

    async def picture(self, request: web.Request) -> web.Response:
        self._requests += 1
        self._first = self._first or time.monotonic()
        assert self.runner.server is not None
        self._most_connections = max(self._most_connections, len(self.runner.server.connections))
        await asyncio.sleep(self._latency_s)
        self._last = time.monotonic()
        number = int(request.match_info["number"])
        return web.Response(
            body=self._bodies[number], content_type="image/jpeg", headers={"ETag": f'"{number}"'}
        )

    async def stats(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "requests": self._requests,
                "most_connections": self._most_connections,
                "first": self._first,
                "last": self._last,
            }
        )

    async def reset(self, _: web.Request) -> web.Response:
        self._clear()
        return web.Response()


async def serve(shop: Shop) -> None:
    app = web.Application()
    app.router.add_get("/_stats", shop.stats)
    app.router.add_get("/_reset", shop.reset)
    app.router.add_get(r"/{number:\d+}.jpg", shop.picture)
    shop.runner = web.AppRunner(app, access_log=None)
    await shop.runner.setup()
    await web.TCPSite(shop.runner, "127.0.0.1", 0).start()
    print(shop.runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, required=True)
    parser.add_argument("--latency-ms", type=float, required=True)
    options = parser.parse_args()
    asyncio.run(serve(Shop(options.pictures, options.latency_ms / 1000)))
