"""A shop of drawn products that is searchable, as ``imgsearch demo`` makes it: a process for each part."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks._http_load import Upload
from imgsearch_assets.commands.demo import Drawn, environment_of
from imgsearch_assets.local.installation import Ports
from imgsearch_assets.local.processes import ProcessGroup, free_port, port_is_free
from imgsearch_assets.local.services import Services, dagster_home
from imgsearch_assets.refresh import run_refresh
from imgsearch_assets.sample.catalogue import Sample, open_sample
from serving.errors import NotFound

SEED = 7
_STOCK_S = 30.0


@dataclass(frozen=True)
class Shop:
    """``addresses`` are the settings by which another front finds the services."""

    services: Services
    addresses: dict[str, str]
    pictures: list[bytes]  # of the street, no product's own
    sample: Sample

    @property
    def uploads(self) -> list[Upload]:
        """The pictures as a browser sends them."""
        found = []
        for data in self.pictures:
            request = httpx.Request("POST", "http://x/", files={"image": ("street.jpg", data, "image/jpeg")})
            found.append(Upload(request.read(), request.headers["content-type"]))
        return found

    @property
    def product_ids(self) -> list[str]:
        """Products of the served generation, the hundred most like a picture."""
        files = {"image": ("street.jpg", self.pictures[0])}
        url = f"{self.services.api_url}/v1/search/image"
        reply = httpx.post(url, files=files, data={"k": "100"}, timeout=30)
        return [hit["product_id"] for hit in reply.json()["results"]]

    def processor_s(self, name: str) -> float:
        """Seconds of processor that the ``serving`` process of that name has used."""
        for child in psutil.Process().children(recursive=True):
            if ["serving", name] == child.cmdline()[2:4]:
                used = child.cpu_times()
                return used.user + used.system
        raise SystemExit(f"the {name} service has ended")


@contextmanager
def shop(products: int, pictures: int, home: Path, **settings: str) -> Iterator[Shop]:
    """Ends with the block. This process has its ``settings``; its front keeps no answers."""
    ports = Ports(free_port(), free_port(), _pictures_port(home))
    prepared = Drawn(products, SEED).prepare(home, ports)
    assert prepared.pictures is not None
    assert prepared.yardstick is not None
    os.environ.update(environment_of(prepared, home / "installation"), IMGSEARCH_RESULT_TTL_S="0")
    os.environ.update(settings)
    dagster_home(home)
    street = [picture for picture, _ in prepared.yardstick.queries(pictures)]
    with ProcessGroup(home / "logs", {}) as group:
        services = Services(group, ports)
        os.environ["IMGSEARCH_REDIS_URL"] = services.start_redis()
        services.start_pictures(prepared.pictures)
        run_refresh()
        addresses = services.start_search()
        services.start_stock()
        found = Shop(services, addresses, street, open_sample(prepared.pictures))
        services.group.wait_ready("stock", lambda: _stock_is_followed(found), _STOCK_S)
        catalogue = httpx.get(f"{services.api_url}/v1/status", timeout=30).json()
        print(f"{catalogue['products']} products are searchable", file=sys.stderr)
        yield found


def _pictures_port(home: Path) -> int:
    """That of a sample that is there: at another, all its pictures would be new."""
    try:
        port = open_sample(home / "sample" / "drawn").port
    except NotFound:
        return free_port()
    return port if port_is_free(port) else free_port()


def _stock_is_followed(running: Shop) -> bool:
    """Answers have a tag from then on, and are no longer held against Redis by the front."""
    product_id = running.product_ids[0]
    return "etag" in httpx.get(f"{running.services.api_url}/v1/products/{product_id}", timeout=30).headers
