"""The main job on one machine, told as a story: a catalogue becomes searchable, then everything stays up."""

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from zlib import crc32

from rich.console import Console
from rich.table import Table

from imgsearch_assets import progress
from imgsearch_assets.evaluation.measure import recall_through_api
from imgsearch_assets.local.installation import Ports, check_home, only_one
from imgsearch_assets.local.processes import ProcessGroup
from imgsearch_assets.local.redis_server import redis_command
from imgsearch_assets.local.services import Services, dagster_home
from imgsearch_assets.refresh import run_refresh
from imgsearch_assets.sample.catalogue import Sample, generate_sample, photos_sample
from imgsearch_assets.sample.evaluate import PictureQuery, photo_queries, street_queries
from imgsearch_assets.warehouse.settings import BIGQUERY
from serving.errors import Unavailable

# Everything but the last JSON line goes to standard error, so that the line can be piped on.
console = Console(stderr=True, highlight=False, soft_wrap=True)

# Pictures to measure with: each costs a detection and two embeddings.
QUERIES_ONCE = 200
QUERIES_STAYING = 40

_REDIS = "IMGSEARCH_REDIS_URL"

# What search can do without, and what that means.
_SPARE = {
    "redis": "without stored features, with the stock as it was",
    "pictures": "without the sample's pictures",
    "detect": "by product, not by picture",
    "embed": "by product, not by picture",
    "stock": "with the stock as it was",
    "dagster": "with what is indexed; changes of the catalogue are not seen",
}


@dataclass(frozen=True)
class Yardstick:
    """A figure of the platform as shoppers see it: pictures, and the rank at which the product must come."""

    figure: str
    k: int
    queries: Callable[[int], Sequence[PictureQuery]]


@dataclass(frozen=True)
class Prepared:
    """A catalogue that can be read, with what it takes to fetch its pictures."""

    catalogue: str
    allow_hosts: frozenset[str] = frozenset()
    pictures: Path | None = None
    yardstick: Yardstick | None = None
    hints: tuple[str, ...] = ()


class Source(Protocol):
    """Where a catalogue comes from; each has its own installation, in the folder ``name``."""

    @property
    def name(self) -> str: ...

    def prepare(self, home: Path, ports: Ports) -> Prepared:
        """Raises ``NotFound`` when there is nothing to read."""


def _served(sample: Sample, ports: Ports, yardstick: Yardstick, drop: str) -> Prepared:
    hints = (
        f"drop a picture on the page: {drop}",
        "change the catalogue, and search follows by itself: "
        f"{sys.executable} -m imgsearch_assets.sample.change {sample.folder} --bad-rows",
        "open ann_index in the Dagster UI: what is searchable, since when, made from what",
    )
    allow = frozenset({f"127.0.0.1:{ports.pictures}"})
    return Prepared(str(sample.catalogue), allow, sample.folder, yardstick, hints)


@dataclass(frozen=True)
class Drawn:
    """The sample catalogue: garments drawn by the generator."""

    products: int
    seed: int

    @property
    def name(self) -> str:
        return f"drawn-{self.products}-{self.seed}"

    def prepare(self, home: Path, ports: Ports) -> Prepared:
        sample = generate_sample(home / "sample", self.products, self.seed, ports.pictures)
        yardstick = Yardstick("street_to_shop_recall_at_10", 10, lambda limit: street_queries(sample, limit))
        return _served(sample, ports, yardstick, f"one of {sample.queries[0].path.parent}/")


@dataclass(frozen=True)
class Photos:
    """A folder of real photos, one sub-folder a category, one photo a product."""

    folder: Path

    @property
    def name(self) -> str:
        return f"photos-{self.folder.resolve().name}"

    def prepare(self, home: Path, ports: Ports) -> Prepared:
        sample = photos_sample(home / "sample", self.folder, ports.pictures)
        yardstick = Yardstick("self_recall_at_1", 1, lambda limit: photo_queries(sample, limit))
        return _served(sample, ports, yardstick, f"a cut-out of one of {self.folder.resolve()}/")


@dataclass(frozen=True)
class Catalogue:
    """Anyone's table; its pictures are fetched from where it says."""

    location: str
    allow_hosts: frozenset[str]

    @property
    def name(self) -> str:
        if self.location.startswith(BIGQUERY):
            return f"catalogue-{self.location.rpartition('.')[2]}-{crc32(self.location.encode()):08x}"
        path = Path(self.location.partition("::")[0]).absolute()
        return f"catalogue-{path.stem}-{crc32(str(path).encode()):08x}"  # two files of one name stay apart

    def prepare(self, home: Path, ports: Ports) -> Prepared:
        location = self.location
        if not location.startswith(BIGQUERY):
            path, table = location.partition("::")[::2]
            location = f"{Path(path).absolute()}{'::' * bool(table)}{table}"
        hints = ("drop a picture of a product on the page", "change the table, and search follows by itself")
        return Prepared(location, self.allow_hosts, hints=hints)


@dataclass
class Stopwatch:
    """Seconds by stage, in the order they were first entered."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started


def run(
    source: Source, home: Path, ports: Ports, redis_url: str | None, *, once: bool, as_json: bool
) -> None:
    """Make the source's catalogue searchable and, unless ``once``, keep everything up until Ctrl-C.

    Raises ``ImgsearchError`` with one sentence for anything a person can mend.
    """
    home = home.absolute() / source.name
    check_home(home)
    with only_one(home):
        ports.check()
        _run(source, home, ports, redis_url, once=once, as_json=as_json)


def _run(
    source: Source, home: Path, ports: Ports, redis_url: str | None, *, once: bool, as_json: bool
) -> None:
    started = time.monotonic()
    clock = Stopwatch()
    with clock.stage("sample"):
        prepared = source.prepare(home, ports)
    environment = environment_of(prepared, home)
    os.environ.update(environment)  # the refresh runs in this very process
    dagster = dagster_home(home)
    with ProcessGroup(home / "logs", environment) as group:
        services = Services(group, ports)
        with clock.stage("services"):
            environment[_REDIS] = os.environ[_REDIS] = redis_url or services.start_redis()
            if prepared.pictures is not None:
                services.start_pictures(prepared.pictures)
        refreshed = run_refresh()
        clock.seconds |= refreshed.seconds
        with clock.stage("services"):
            addresses = services.start_search()
        clock.seconds["searchable"] = time.monotonic() - started
        console.print(f"[bold green]searchable[/] after {clock.seconds['searchable']:.0f} s")

        if refreshed.rejected:
            console.print(
                f"{refreshed.rejected} rows of the catalogue were rejected; "
                "product_snapshot in the Dagster UI shows which and why"
            )
        figures = refreshed.figures()
        if prepared.yardstick is not None:
            with clock.stage("measure"):
                figures |= _measured(
                    prepared.yardstick, services.api_url, QUERIES_ONCE if once else QUERIES_STAYING
                )
        _show(figures, clock)
        if not once:
            # A release from now on is one when these serve it.
            witnesses = {
                "IMGSEARCH_STAGING_SEARCH_ADDRESS": addresses["IMGSEARCH_SEARCH_ADDRESS"],
                "IMGSEARCH_STAGING_API_URL": services.api_url,
            }
            _stay(services, prepared, dagster, environment[_REDIS], witnesses)
    if as_json:
        seconds = {stage: round(value, 2) for stage, value in clock.seconds.items()}
        print(json.dumps(figures | {"seconds": seconds}), flush=True)


def environment_of(prepared: Prepared, home: Path) -> dict[str, str]:
    """What every process of the installation is told; where Redis is comes to it when that is known."""
    return {
        "IMGSEARCH_HOME": str(home),
        "IMGSEARCH_CATALOGUE": prepared.catalogue,
        "IMGSEARCH_FETCH_ALLOW_HOSTS": json.dumps(sorted(prepared.allow_hosts)),
    }


def _measured(yardstick: Yardstick, api_url: str, limit: int) -> dict[str, float]:
    queries = yardstick.queries(limit)
    with progress.stage("shoppers' pictures", len(queries)) as advance:
        recall = recall_through_api(api_url, queries, yardstick.k, advance)
    return {yardstick.figure: round(recall, 4)}


def _show(figures: dict[str, object], clock: Stopwatch) -> None:
    table = Table("stage", "seconds", title="where the time went", title_justify="left")
    table.columns[1].justify = "right"
    for stage, value in clock.seconds.items():
        if stage != "searchable":
            table.add_row(stage, f"{value:.1f}")
    console.print(table)
    console.print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items()))


def _stay(
    services: Services, prepared: Prepared, dagster: Path, redis_url: str, witnesses: Mapping[str, str]
) -> None:
    """Keep everything up until Ctrl-C. Raises ``Unavailable`` when what search needs ends by itself."""
    services.start_stock()
    with console.status("starting Dagster"):
        services.start_dagster(dagster, **witnesses)
    console.print(f"\n  page        [bold]{services.api_url}/[/]")
    console.print(f"  API         [bold]{services.api_url}/docs[/]")
    console.print(f"  Dagster UI  [bold]{services.dagster_url}/[/]")
    console.print(f"  Redis       [bold]{redis_url.rpartition('@')[2].removeprefix('redis://')}[/]\n")
    console.print("Try:")
    for number, hint in enumerate(prepared.hints, 1):
        console.print(f"  {number}. {hint}")
    console.print("\nCtrl-C stops everything.")
    while True:
        if (ended := services.group.ended()) is None:
            time.sleep(0.5)
            continue
        said = f"{ended} ended by itself; its log is {services.group.logs / ended}.log"
        if ended not in _SPARE:
            raise Unavailable(said)
        services.group.forget(ended)
        console.print(f"{said}. Search goes on {_SPARE[ended]}. {_again(ended, redis_url)}")


def _again(ended: str, redis_url: str) -> str:
    """How to have it back. A Redis is found where it was; what else ended has to be waited for."""
    whole = "Ctrl-C and the same command start all of it again"
    if ended != "redis":
        return f"{whole}."
    port = int(redis_url.rpartition(":")[2].partition("/")[0])
    return f"Start it again with: {shlex.join(redis_command(port))} (or: {whole})."
