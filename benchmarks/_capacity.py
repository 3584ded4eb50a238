"""What a shop of any size needs, from measured rates: arithmetic alone, no IO.

What is straight in the number of products (bytes, memory, pictures) is drawn through two measured sizes. What
goes through the graph, a search or a row that is added to it, gets dearer with its rows as
``serving.index.cost`` has it. Both are carried far beyond what was measured: read orders of magnitude, not
digits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Self

from benchmarks._measured import Line
from imgsearch_assets.graph.costs import Prices
from serving.index.cost import graph_us

# Of the class `cpu` of the price list.
MACHINE_CORES, MACHINE_BYTES = 4, 16 << 30
ROWS_A_PICTURE = 2
# Arrow's columns of text have 32-bit offsets, and tables of items are joined into one piece.
TEXT_BYTES = 2**31 - 1
_BEAM = 64


@dataclass(frozen=True)
class Shop:
    """What is assumed of a shop."""

    products: int
    pictures: int = 3  # of a product
    new_a_day: float = 3_200 / 730_000  # share of the products
    looks_a_day: int = 24  # runs of the pipeline that compare the whole catalogue
    requests_per_s: float = 100.0  # of shoppers, at the busiest
    uploads: float = 0.1  # share of them that bring a picture
    busy: float = 0.5  # share of what a process can do that it is asked for
    least_pods: int = 3
    kept: int = 4  # generations in the object store that have no file in common: those kept, and the next
    most_pod_bytes: int = 256 << 30  # more than this no pod of search gets


@dataclass(frozen=True)
class Straight:
    """``fixed + each * n``, by two measurements."""

    fixed: float
    each: float

    @classmethod
    def through(cls, small: tuple[float, float], large: tuple[float, float]) -> Self:
        """Raises ``ValueError`` where the larger is not larger, or takes less."""
        (n, a), (m, b) = small, large
        if not (n < m and a < b):
            raise ValueError(f"{a} of {n} and {b} of {m} tell nothing of other sizes")
        each = (b - a) / (m - n)
        return cls(max(0.0, a - each * n), each)

    def of(self, n: float) -> float:
        return self.fixed + self.each * n


@dataclass(frozen=True)
class Rates:
    """What was measured. Bytes are by product; ``_per_s`` is of all cores of the machine together."""

    cores: int
    gpu: str | None
    pictures_per_product: int
    download_per_s: float
    detect_per_s: float
    embed_per_s: float
    picture_bytes: float
    table_bytes: float  # of a picture
    stored: Straight
    most: Straight
    redis: Straight
    warehouse: Straight
    build_row_s: float  # of a core, a row at ``build_rows``
    build_rows: int
    dim: int
    look_s: float  # of a product: a snapshot and the difference
    look_bytes: float
    search_per_s: float  # of one process, at ``search_rows``
    search_rows: int
    front_per_s: float
    upload_per_s: float
    item_text_bytes: float  # of a row: its columns as one text
    build_bytes: Straight

    @classmethod
    def of(cls, lines: Mapping[str, Line]) -> Self:
        """Raises ``KeyError`` where a figure is lacking."""
        fill, foot = lines["fill"].figures, lines["footprint"].figures
        diff, rpc, fast = (lines[name].figures for name in ("diff", "rpc", "fastpath"))
        small, large = foot["sizes"][0], foot["sizes"][-1]

        def straight(*names: str) -> Straight:
            ends = [(one["products"], sum(_total(one[name]) for name in names)) for one in (small, large)]
            return Straight.through(ends[0], ends[1])

        return cls(
            cores=lines["fill"].cores,
            gpu=lines["fill"].gpu,
            pictures_per_product=foot["pictures"],
            download_per_s=fill["per_s"]["download"],
            detect_per_s=fill["per_s"]["detect"],
            embed_per_s=fill["per_s"]["embed"],
            picture_bytes=fill["kept_bytes"]["images"] / fill["pictures"],
            table_bytes=fill["kept_bytes"]["tables"] / fill["pictures"],
            stored=straight("stored_bytes"),
            most=straight("most_bytes"),
            redis=straight("redis_features_bytes", "redis_stock_bytes"),
            warehouse=straight("warehouse_bytes"),
            build_row_s=large["build_processor_s"] / large["rows"],
            build_rows=large["rows"],
            dim=large["dim"],
            look_s=(diff["snapshot_s"] + diff["difference_s"]) / diff["n"],
            look_bytes=diff["memory_mb"] * 2**20 / diff["n"],
            search_per_s=rpc["search_per_s"],
            search_rows=rpc["n"],
            front_per_s=fast["product"]["per_s"],
            upload_per_s=fast["upload"]["per_s"],
            item_text_bytes=foot["item_text_bytes"],
            build_bytes=straight("build_peak_bytes"),
        )


@dataclass(frozen=True)
class Needs:
    """What a shop takes. Hours are of one core, unless they say a process."""

    rows: int
    # At first
    download_hours: float  # of one process
    network_core_hours: float
    build_core_hours: float
    # A day
    daily_core_hours: float
    read_bytes: float
    billed_bytes: float
    # Kept
    object_bytes: float
    generation_bytes: float
    redis_bytes: float
    run_bytes: float  # memory of a run, when it compares the whole catalogue or builds the index anew
    # Shoppers
    searches_per_s: float  # that one process of search answers
    search_pods: int
    search_pod_bytes: float
    api_pods: int
    network_cores: int
    fits: tuple[str, ...]  # what does not, and what that takes; none where one kind of pod does it


def needs(shop: Shop, rates: Rates) -> Needs:
    """Of ``shop``, whose pictures a product are as many as were measured. Raises ``ValueError`` otherwise."""
    if shop.pictures != rates.pictures_per_product:
        raise ValueError(f"rates of {rates.pictures_per_product} pictures a product, not of {shop.pictures}")
    pictures = shop.products * shop.pictures
    rows = pictures * ROWS_A_PICTURE
    network_s = rates.cores * (1 / rates.detect_per_s + 1 / rates.embed_per_s)
    build_s = rates.build_row_s * rows * _dearer(rows, rates.build_rows, rates.dim)
    looked_s = shop.looks_a_day * rates.look_s * shop.products
    warehouse = rates.warehouse.of(shop.products)
    generation = rates.stored.of(shop.products)
    searches_per_s = rates.search_per_s / _dearer(rows, rates.search_rows, rates.dim)
    pod_bytes = 2 * rates.most.of(shop.products)  # an alert is raised at half of a limit
    uploads_per_s = shop.requests_per_s * shop.uploads

    def pods(per_s: float, wanted: float) -> int:
        return max(shop.least_pods, ceil(wanted / (per_s * shop.busy)))

    run_bytes = max(rates.look_bytes * shop.products, rates.build_bytes.of(shop.products))
    return Needs(
        rows=rows,
        download_hours=pictures / rates.download_per_s / 3600,
        network_core_hours=network_s * pictures / 3600,
        build_core_hours=build_s / 3600,
        daily_core_hours=(network_s * pictures * shop.new_a_day + build_s + looked_s) / 3600,
        read_bytes=shop.looks_a_day * warehouse,
        billed_bytes=shop.looks_a_day * 2 * warehouse,
        object_bytes=pictures * (rates.picture_bytes + rates.table_bytes) + shop.kept * generation,
        generation_bytes=generation,
        redis_bytes=rates.redis.of(shop.products),
        run_bytes=run_bytes,
        searches_per_s=searches_per_s,
        search_pods=pods(searches_per_s, shop.requests_per_s),
        search_pod_bytes=pod_bytes,
        api_pods=pods(rates.front_per_s, shop.requests_per_s),
        network_cores=ceil(uploads_per_s * rates.cores / (rates.upload_per_s * shop.busy)),
        fits=tuple(_limits(shop, rates, rows, pod_bytes, run_bytes)),
    )


def _limits(shop: Shop, rates: Rates, rows: int, pod_bytes: float, run_bytes: float) -> list[str]:
    found = []
    if pod_bytes > shop.most_pod_bytes:
        found.append("a search pod")
    if rows * rates.item_text_bytes > TEXT_BYTES:
        found.append("a column of text")
    if run_bytes > shop.most_pod_bytes:
        found.append("a run of the pipeline")
    if rows > 2**31 - 1:
        found.append("numbers of rows")
    return found


@dataclass(frozen=True)
class Costs:
    """In the price list's currency."""

    first: float
    day: float
    serving_hour: float


def costs(found: Needs, prices: Prices) -> Costs:
    """Machines alone: cores and memory by machines of ``cpu``, downloads by one of ``io``."""

    def cores(hours: float) -> float:
        return prices.of("cpu", hours / MACHINE_CORES * 3600)

    search = found.search_pods * max(1.0, found.search_pod_bytes / MACHINE_BYTES)
    serving = search + found.api_pods * 0.5 + found.network_cores / MACHINE_CORES
    return Costs(
        first=prices.of("io", found.download_hours * 3600)
        + cores(found.network_core_hours + found.build_core_hours),
        day=cores(found.daily_core_hours),
        serving_hour=prices.of("cpu", serving * 3600),
    )


def _dearer(rows: float, measured_rows: int, dim: int) -> float:
    """How many times what goes through a graph of ``rows`` takes of the same in one of ``measured_rows``."""
    return graph_us(_BEAM, int(rows), dim) / graph_us(_BEAM, measured_rows, dim)


def _total(value: float | Mapping[str, float]) -> float:
    return sum(value.values()) if isinstance(value, Mapping) else value
