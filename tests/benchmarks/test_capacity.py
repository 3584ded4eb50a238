"""The arithmetic of what a shop needs; the figures that it is fed with are those of benchmarks."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import _measured
from benchmarks._capacity import MACHINE_BYTES, Rates, Shop, Straight, costs, needs
from benchmarks.capacity import SIZES, page, quantity, size
from imgsearch_assets.graph.costs import EXAMPLE, Prices
from imgsearch_assets.graph.pods import INDEX
from tests.k8s.rendering import Objects, size_of

ROOT = Path(__file__).parents[2]
RATES = Rates(
    cores=2,
    gpu=None,
    pictures_per_product=3,
    download_per_s=100.0,
    detect_per_s=20.0,
    embed_per_s=10.0,
    picture_bytes=50_000.0,
    table_bytes=1_000.0,
    stored=Straight(0, 3_000.0),
    most=Straight(200e6, 7_000.0),
    redis=Straight(0, 2_000.0),
    warehouse=Straight(0, 150.0),
    build_row_s=0.0005,
    build_rows=200_000,
    dim=128,
    look_s=1e-5,
    look_bytes=1_000.0,
    search_per_s=4_000.0,
    search_rows=200_000,
    front_per_s=800.0,
    upload_per_s=40.0,
    item_text_bytes=150.0,
    build_bytes=Straight(300e6, 10_000.0),
)
sizes = st.integers(1_000, 2_000_000_000)


def test_it_is_what_a_hand_would_calculate() -> None:
    found = needs(Shop(720_000, new_a_day=0.0, looks_a_day=10), RATES)
    assert found.rows == 720_000 * 3 * 2
    assert found.download_hours == pytest.approx(720_000 * 3 / 100 / 3600)
    assert found.network_core_hours == pytest.approx(2 * (1 / 20 + 1 / 10) * 720_000 * 3 / 3600)
    assert found.daily_core_hours == pytest.approx(found.build_core_hours + 10 * 7.2 / 3600)
    assert (found.read_bytes, found.billed_bytes) == (10 * 720_000 * 150, 2 * 10 * 720_000 * 150)
    assert found.object_bytes == 720_000 * 3 * 51_000 + 4 * 720_000 * 3_000
    assert found.search_pod_bytes == 2 * (200e6 + 720_000 * 7_000)
    assert found.network_cores == 1  # 100 * 0.1 pictures a second, of 20 a core, half busy


def test_at_the_measured_size_a_search_takes_what_was_measured() -> None:
    shop = Shop(RATES.search_rows // 6)
    exact = replace(RATES, search_rows=shop.products * 6, build_rows=shop.products * 6)
    found = needs(shop, exact)
    assert found.searches_per_s == exact.search_per_s
    assert found.build_core_hours == pytest.approx(exact.build_row_s * shop.products * 6 / 3600)


@given(sizes, sizes)
def test_a_larger_shop_never_needs_less(one: int, other: int) -> None:
    small, large = (needs(Shop(products), RATES) for products in sorted((one, other)))
    for name, value in asdict(small).items():
        if name == "searches_per_s":
            assert value >= large.searches_per_s
        elif name == "fits":
            assert set(value) <= set(large.fits)
        else:
            assert value <= getattr(large, name), name


@given(st.floats(1, 100_000), st.floats(1, 100_000))
def test_more_shoppers_never_need_less(one: float, other: float) -> None:
    few, many = (needs(Shop(730_000, requests_per_s=it), RATES) for it in sorted((one, other)))
    for name in ("search_pods", "api_pods", "network_cores"):
        assert getattr(few, name) <= getattr(many, name)
    asked = max(one, other)
    assert many.search_pods * many.searches_per_s * Shop.busy >= asked


@given(sizes, st.floats(0, 10), st.floats(0, 10))
def test_costs_are_hours_times_prices(products: int, price: float, io: float) -> None:
    found = needs(Shop(products), RATES)
    once = costs(found, Prices(currency="EUR", cpu=price, gpu=0, io=io))
    twice = costs(found, Prices(currency="EUR", cpu=2 * price, gpu=0, io=2 * io))
    for name, value in asdict(once).items():
        assert getattr(twice, name) == pytest.approx(2 * value)
    assert once.day == pytest.approx(found.daily_core_hours / 4 * price)
    machines = found.search_pods * max(1, found.search_pod_bytes / MACHINE_BYTES)
    assert once.serving_hour >= machines * price * (1 - 1e-9)


def test_what_does_not_fit_is_named() -> None:
    assert needs(Shop(730_000), RATES).fits == ()
    assert needs(Shop(10_000_000), RATES).fits == ("a column of text",)
    assert needs(Shop(1_000_000_000), RATES).fits == (
        "a search pod",
        "a column of text",
        "a run of the pipeline",
        "numbers of rows",
    )


def test_a_line_goes_through_its_two_sizes() -> None:
    line = Straight.through((10, 120), (30, 160))
    assert (line.of(10), line.of(30), line.of(0)) == (120, 160, 100)
    for small, large in (((10, 5), (10, 6)), ((10, 5), (20, 5))):
        with pytest.raises(ValueError, match="tell nothing of other sizes"):
            Straight.through(small, large)


def test_rates_of_other_shops_are_refused() -> None:
    with pytest.raises(ValueError, match="rates of 3 pictures a product, not of 2"):
        needs(Shop(10, pictures=2), RATES)


def test_a_rate_that_was_not_measured_is_named(tmp_path: Path) -> None:
    file = tmp_path / "measured.jsonl"
    with pytest.raises(SystemExit, match="there are no measured rates"):
        _measured.read(file)
    lines = list(_measured.read().values())
    _measured.write([line for line in lines if line.benchmark != "diff"], file)
    with pytest.raises(SystemExit, match="lacks the line of diff; `--measure` makes it"):
        _measured.read(file)
    file.write_text("{}\n")
    with pytest.raises(SystemExit, match="this is no line of a benchmark"):
        _measured.read(file)


def test_every_rate_has_its_command_day_and_machine() -> None:
    for name, line in _measured.read().items():
        assert line.command.startswith(f"python -m benchmarks.{name} ")
        assert line.day
        assert line.machine
        assert line.cores > 0
        assert "load_before" in line.figures


def test_the_page_is_what_the_program_says() -> None:
    found = (ROOT / "docs" / "capacity.md").read_text()
    assert page(_measured.read()) in found, "run `make docs`"


def test_the_last_line_is_the_figures(benchmark) -> None:
    said = benchmark("capacity", "--products", "730000", "--requests", "50").figures
    (one,) = said["sizes"]
    rates = Rates.of(_measured.read())
    assert one["needs"]["rows"] == 730_000 * 6
    assert one["needs"]["search_pods"] == needs(Shop(730_000, requests_per_s=50), rates).search_pods
    assert said["currency"] == EXAMPLE.currency


def test_an_unknown_benchmark_is_refused(benchmark) -> None:
    assert "no rate is of nothing" in benchmark("capacity", "--measure", "nothing").stderr


def test_numbers_are_for_people() -> None:
    assert [quantity(it) for it in (0, 0.0123, 1.26, 15.7, 1234)] == ["0", "0.012", "1.3", "16", "1,200"]
    assert [size(it) for it in (999, 1.5e9, 2.34e15)] == ["1,000 B", "1.5 GB", "2.3 PB"]


def test_production_is_as_large_as_730_000_products_need() -> None:
    production, found = Objects("production"), needs(Shop(SIZES[0]), Rates.of(_measured.read()))
    limits = production.service("search").server["resources"]["limits"]
    memory = size_of(limits["memory"])
    disk = size_of(limits["ephemeral-storage"])
    assert found.search_pod_bytes <= memory <= 2 * found.search_pod_bytes
    cache = int(production.environment("search")["IMGSEARCH_CACHE_BYTES"])
    assert 2 * found.generation_bytes <= cache < disk
    assert found.search_pods <= production.one("HorizontalPodAutoscaler", "search")["spec"]["maxReplicas"]


def test_a_run_has_the_memory_to_build_the_index_of_730_000_products() -> None:
    values = yaml.safe_load((ROOT / "k8s" / "dagster" / "values.place.yaml").read_text())
    (location,) = values["dagster-user-deployments"]["deployments"]
    needed = needs(Shop(SIZES[0]), Rates.of(_measured.read())).run_bytes
    for memory in (location["resources"]["limits"]["memory"], INDEX.memory):
        assert size_of(memory) >= needed


def test_a_measured_line_can_be_read_by_anybody() -> None:
    for line in (ROOT / "benchmarks" / "measured.jsonl").read_text().splitlines():
        assert json.loads(line).keys() == {*_measured.Line.__dataclass_fields__}
