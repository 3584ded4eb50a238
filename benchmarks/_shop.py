"""A shop of drawn products that is searchable, as ``imgsearch demo`` makes it: a process for each part."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks._http_load import Upload
from imgsearch_assets.demo import Drawn, environment_of
from imgsearch_assets.installation import Ports
from imgsearch_assets.processes import ProcessGroup, free_port
from imgsearch_assets.refresh import run_refresh
from imgsearch_assets.services import Services, dagster_home

SEED = 7


@dataclass(frozen=True)
class Shop:
    """``addresses`` are the settings by which another front finds the services."""

    services: Services
    addresses: dict[str, str]
    pictures: list[bytes]  # of the street, no product's own

    @property
    def uploads(self) -> list[Upload]:
        """The pictures as a browser sends them."""
        found = []
        for data in self.pictures:
            request = httpx.Request("POST", "http://x/", files={"image": ("street.jpg", data, "image/jpeg")})
            found.append(Upload(request.read(), request.headers["content-type"]))
        return found


@contextmanager
def shop(products: int, pictures: int, home: Path) -> Iterator[Shop]:
    """Ends with the block. Its front keeps no answers, and this process has its settings."""
    ports = Ports(*(free_port() for _ in range(3)))
    prepared = Drawn(products, SEED).prepare(home, ports)
    assert prepared.pictures is not None
    assert prepared.yardstick is not None
    os.environ.update(environment_of(prepared, home / "installation"), IMGSEARCH_RESULT_TTL_S="0")
    dagster_home(home)
    street = [picture for picture, _ in prepared.yardstick.queries(pictures)]
    with ProcessGroup(home / "logs", {}) as group:
        services = Services(group, ports)
        os.environ["IMGSEARCH_REDIS_URL"] = services.start_redis()
        services.start_pictures(prepared.pictures)
        run_refresh()
        addresses = services.start_search()
        catalogue = httpx.get(f"{services.api_url}/v1/status", timeout=30).json()
        print(f"{catalogue['products']} products are searchable", file=sys.stderr)
        yield Shop(services, addresses, street)
