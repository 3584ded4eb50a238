"""What a shop of any size needs and costs, by what other benchmarks measured.

    python -m benchmarks.capacity [--products 730000 10000000 1000000000] [--requests 100] [--json]
    python -m benchmarks.capacity --measure       # runs them here, and keeps their last lines

The rates are those of ``measured.jsonl``; the arithmetic, and what is assumed, is in ``_capacity.py``. Prices
are ``IMGSEARCH_PRICES``.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import _measured
from benchmarks._capacity import Costs, Needs, Rates, Shop, costs, needs
from imgsearch_assets.environment import read_told
from imgsearch_assets.graph.costs import EXAMPLE, Prices

SIZES = (730_000, 10_000_000, 1_000_000_000)

# What is shown of each size, and how.
Row = tuple[str, Callable[[Needs, Costs], str]]


def quantity(value: float) -> str:
    """Two digits that mean something, no more."""
    if value == 0:
        return "0"
    return f"{float(f'{value:.2g}'):,.10g}"


def size(value: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if value < 1000:
            return f"{quantity(value)} {unit}"
        value /= 1000
    return f"{quantity(value)} PB"


def rows(prices: Prices) -> list[Row]:
    money = prices.currency
    return [
        ("rows of the index", lambda n, _: f"{n.rows:,}"),
        ("first fill: downloading, hours of one process", lambda n, _: quantity(n.download_hours)),
        ("first fill: networks, core hours", lambda n, _: quantity(n.network_core_hours)),
        ("building the index anew, core hours", lambda n, _: quantity(n.build_core_hours)),
        (
            "a day's new products, looks and one new index, core hours",
            lambda n, _: quantity(n.daily_core_hours),
        ),
        ("memory of a run of the pipeline", lambda n, _: size(n.run_bytes)),
        ("read from BigQuery a day", lambda n, _: size(n.read_bytes)),
        ("scanned by its queries a day", lambda n, _: size(n.billed_bytes)),
        ("object store", lambda n, _: size(n.object_bytes)),
        ("of it a generation of the index", lambda n, _: size(n.generation_bytes)),
        ("Redis", lambda n, _: size(n.redis_bytes)),
        ("searches a second of one process", lambda n, _: quantity(n.searches_per_s)),
        ("pods of search", lambda n, _: f"{n.search_pods:,}"),
        ("memory of each", lambda n, _: size(n.search_pod_bytes)),
        ("pods of the front", lambda n, _: f"{n.api_pods:,}"),
        ("cores for shoppers' pictures", lambda n, _: f"{n.network_cores:,}"),
        (f"first fill, {money}", lambda _, c: quantity(c.first)),
        (f"pipeline a day, {money}", lambda _, c: quantity(c.day)),
        (f"serving an hour, {money}", lambda _, c: quantity(c.serving_hour)),
        ("what does not fit", lambda n, _: ", ".join(n.fits) or "nothing"),
    ]


def table(shops: Sequence[Shop], rates: Rates, prices: Prices) -> list[list[str]]:
    """A head, then a row a quantity."""
    found = [(one, costs(one, prices)) for one in (needs(shop, rates) for shop in shops)]
    head = ["products", *(f"{shop.products:,}" for shop in shops)]
    return [head, *([name, *(say(*one) for one in found)] for name, say in rows(prices))]


def page(lines: dict[str, _measured.Line]) -> str:
    """The tables of docs/capacity.md, at the sizes, assumptions and prices of the defaults."""
    shops = [Shop(products) for products in SIZES]
    head, *body = table(shops, Rates.of(lines), EXAMPLE)
    found = [_row(head), _row(["---", *["--:"] * len(shops)]), *map(_row, body), ""]
    found += [_row(["Benchmark", "Command", "Day", "Machine"]), "|---|---|---|---|"]
    for line in lines.values():
        where = f"{line.cores} cores, {line.machine}, {line.gpu or 'no GPU'}"
        found.append(_row([line.benchmark, f"`{line.command}`", line.day, where]))
    return "\n".join(found) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--products", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--requests", type=float, default=Shop.requests_per_s, help="of shoppers, a second")
    parser.add_argument("--uploads", type=float, default=Shop.uploads, help="share of them with a picture")
    parser.add_argument("--rates", type=Path, default=_measured.FILE, help="file of measured lines")
    parser.add_argument("--measure", nargs="*", metavar="BENCHMARK", help="first run these, or all, here")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.measure is not None:
        if unknown := set(options.measure) - _measured.WANTED.keys():
            parser.error(f"--measure: no rate is of {', '.join(sorted(unknown))}")
        _measured.renew(options.measure or list(_measured.WANTED), options.rates)
    rates = Rates.of(_measured.read(options.rates))
    shops = [
        Shop(products, requests_per_s=options.requests, uploads=options.uploads)
        for products in options.products
    ]
    prices = read_told().pipeline.prices
    cells = table(shops, rates, prices)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for name, *values in cells:
        rest = (f"  {value:>{width}}" for value, width in zip(values, widths[1:], strict=True))
        print(f"{name:<{widths[0]}}" + "".join(rest))
    if options.json:
        found = [needs(shop, rates) for shop in shops]
        said = [
            {"shop": asdict(shop), "needs": asdict(one), "costs": asdict(costs(one, prices))}
            for shop, one in zip(shops, found, strict=True)
        ]
        print(json.dumps({"currency": prices.currency, "gpu": rates.gpu, "sizes": said}))


if __name__ == "__main__":
    main()
