"""What one writes first: an httpx client, a semaphore and a gather. Runs in the peers' environment.

python _download_httpx.py FOLDER HOST PICTURES CONCURRENCY
"""

import asyncio
import sys
from pathlib import Path

import httpx


async def main(folder: Path, host: str, pictures: int, concurrency: int) -> None:
    semaphore = asyncio.Semaphore(concurrency)
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)

    async with httpx.AsyncClient(limits=limits, timeout=20) as client:

        async def fetch(number: int) -> None:
            async with semaphore:
                response = await client.get(f"http://{host}/{number}.jpg")
            response.raise_for_status()
            (folder / f"{number}.jpg").write_bytes(response.content)

        await asyncio.gather(*(fetch(number) for number in range(pictures)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
