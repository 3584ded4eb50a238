"""One run of our downloader, as the platform runs it; prints its requests and when it was done.

python -m benchmarks._download_ours FOLDER HOST PICTURES CONCURRENCY
"""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from imgsearch_assets.images.download import Limits, download
from imgsearch_assets.images.plan import plan_downloads
from imgsearch_assets.images.politeness import Politeness
from imgsearch_assets.images.store import fetch_table
from imgsearch_assets.progress import stage
from serving.object_store import LocalObjectStore


def main(folder: Path, host: str, pictures: int, concurrency: int) -> None:
    store = LocalObjectStore(folder)
    urls = pa.table(
        {
            "url": [f"http://{host}/{n}.jpg" for n in range(pictures)],
            "updated_at": pa.array([None] * pictures, pa.timestamp("us", "UTC")),
        }
    )
    plan = plan_downloads(urls, fetch_table(store).read(), datetime.now(UTC))
    with stage("pictures", plan.total) as advance:
        summary = asyncio.run(
            download(
                plan,
                store,
                politeness=Politeness(concurrency=concurrency),
                limits=Limits(allow_hosts={host}),
                advance=advance,
            )
        )
    done = time.monotonic()
    print(json.dumps({"requests": summary.requests, "failures": sum(summary.failed.values()), "done": done}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
