"""What the page says when something goes wrong: one message, kindly, with the mend."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
from grpc_health.v1 import health_pb2
from playwright.sync_api import Page, expect
from typer.testing import CliRunner

from imgsearch_assets.cli import app as cli
from tests.serving.api.published import publish
from tests.serving.processes import Start

OpenPage = Callable[..., Page]
Show = Callable[..., None]
Patches = Callable[..., bytes]


@pytest.fixture
def house(running_house: Any) -> Any:
    """One whose services fail when they are told to, which the real search never does."""
    running_house.reset()
    for name, (product, _) in running_house.search.products.items():
        product.in_stock = not name.endswith("bag")
    return running_house


def title(page: Page) -> Any:
    return page.get_by_role("alert").get_by_role("heading")


def test_a_product_that_is_gone(page: Page, house: Any) -> None:
    page.goto(f"{house.url}/?product=sold-yesterday")
    expect(title(page)).to_have_text("It is not in the shop")
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    expect(page.get_by_role("button", name="Choose a picture")).to_be_visible()


def test_what_is_no_picture(page: Page, show: Show, patches: Patches) -> None:
    show(page, b"hello", "notes.txt", "text/plain")
    expect(title(page)).to_have_text("This is not a picture")
    show(page, patches("red"))
    expect(page.locator("#provenance")).to_contain_text("Answered from generation")
    show(page, b"hello, I say I am one", "picture.jpg")
    expect(title(page)).to_have_text("This picture cannot be used")
    expect(page.get_by_role("alert")).to_contain_text("Not a picture; send JPEG, PNG or WebP.")
    expect(page.locator("#provenance")).to_be_empty()  # it was of the answer before
    show(page, b"hello, I say I am one", "picture.gif", "image/gif")
    expect(title(page)).to_have_text("This picture cannot be read")
    expect(page.get_by_role("button", name="Choose a picture")).to_be_visible()
    page.evaluate(
        """() => {
            const words = new DataTransfer();
            words.setData("text/plain", "hello");
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: words, bubbles: true }));
        }"""
    )
    expect(title(page)).to_have_text("This is not a picture")


def test_what_is_dropped_on_results_and_no_picture_leaves_them(
    page: Page, show: Show, patches: Patches
) -> None:
    show(page, patches("red"))
    expect(page.locator(".card-button")).to_have_count(8)
    show(page, b"hello", "notes.txt", "text/plain")
    expect(title(page)).to_have_text("This is not a picture")
    expect(page.locator(".card-button")).to_have_count(8)
    expect(page.locator("#busy")).to_be_empty()


def test_a_picture_that_is_too_large_does_not_travel(
    open_page: Callable[..., Page],
    show: Show,
    large_picture: bytes,
    run_house: Any,
) -> None:
    with run_house(max_picture_bytes=300_000) as small:
        page = open_page(small)
        expect(page.locator("body")).to_have_attribute("data-shop", "ready")
        show(page, large_picture)
        expect(title(page)).to_have_text("This picture is too large")
        expect(page.get_by_role("alert")).to_contain_text("At most 0.3 MB can be sent. Choose a smaller one.")
        assert small.detect.calls == []


def test_without_the_detector_what_works_is_said_and_works(
    page: Page, show: Show, house: Any, patches: Patches
) -> None:
    house.detect.fail = grpc.StatusCode.UNAVAILABLE
    show(page, patches("red"))
    expect(title(page)).to_have_text("The picture search is not available just now")
    expect(page.get_by_role("alert")).to_contain_text(
        "Please try again in a moment. Searching by product works meanwhile."
    )
    page.get_by_role("textbox", name="Product number").fill("red-dress")
    page.keyboard.press("Enter")
    expect(page.locator("#product-name")).to_have_text("Red dress")
    expect(page.locator(".card-button")).to_have_count(7)
    expect(page.get_by_role("alert")).to_be_hidden()
    page.go_back()
    expect(title(page)).to_be_visible()
    house.detect.fail = None
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".card-name").first).to_have_text("Red dress")
    expect(page.locator("#results-heading")).to_be_focused()  # not lost with the button


def test_without_the_search_nothing_is_promised(page: Page, show: Show, house: Any, patches: Patches) -> None:
    house.search.fail = grpc.StatusCode.UNAVAILABLE
    house.say("search", health_pb2.HealthCheckResponse.NOT_SERVING)
    show(page, patches("red"))
    expect(title(page)).to_have_text("The search is not available just now")
    expect(page.get_by_role("alert")).not_to_contain_text("number")


@pytest.fixture
def closed(run_house: Any, redis_url: str, tmp_path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """A house that wants a key, and keys of it: by how often they may search, and one that may not."""
    (tmp_path / "objects").mkdir()
    options = {rate: ("search", "--rate", rate) for rate in ("0", "1/minute", "2/minute")}
    options["admin"] = ("admin",)
    create = ["keys", "create", "--home", str(tmp_path), "--name", "test", "--scope"]
    keys = {
        name: CliRunner().invoke(cli, [*create, *asked]).stdout.strip() for name, asked in options.items()
    }
    with run_house(
        home=tmp_path,
        open=False,
        service_key=keys["0"],
        redis_url=redis_url,
        redis_timeout_s=1.0,
        result_ttl_s=0,
    ) as house:
        yield house, keys


def test_a_busy_shop_may_be_asked_again(page: Page, show: Show, house: Any, patches: Patches) -> None:
    house.embed.fail = grpc.StatusCode.RESOURCE_EXHAUSTED
    show(page, patches("red"))
    expect(title(page)).to_have_text("Many people are searching")
    house.embed.fail = None
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".card-name").first).to_have_text("Red dress")


def test_more_that_fails_leaves_what_is_there(page: Page, house: Any) -> None:
    for copy in range(4):
        for product, vector in house.search.catalogue().values():
            product.in_stock = not product.product_id.endswith("bag")
            product.product_id += f"-{copy}"
            house.search.products[product.product_id] = (product, vector)
    page.goto(f"{house.url}/?product=red-dress")
    expect(page.locator(".card-button")).to_have_count(24)
    house.search.fail = grpc.StatusCode.UNAVAILABLE
    page.get_by_role("button", name="Show more").click()
    expect(title(page)).to_be_in_viewport()
    expect(page.locator(".card-button")).to_have_count(24)
    house.search.fail = None
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".card-button")).to_have_count(39)


def test_a_shop_that_wants_a_key(
    open_page: OpenPage, show: Show, closed: tuple[Any, dict[str, str]], patches: Patches
) -> None:
    house, keys = closed
    key = keys["0"]
    page = open_page(house)
    asked: list[str | None] = []
    page.on(
        "request",
        lambda request: asked.append(request.headers.get("authorization")) if "/v1/" in request.url else None,
    )
    expect(title(page)).to_have_text("This shop’s search needs a key")
    field = page.get_by_label("Key", exact=True)
    expect(field).to_be_focused()
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    for wrong in ("wrong-key", keys["admin"]):
        field.fill(wrong)
        page.keyboard.press("Enter")
        expect(title(page)).to_have_text("This key is not accepted")
        expect(field).to_be_empty()

    show(page, patches("red"))
    expect(title(page)).to_have_text("This key is not accepted")
    field.fill(f"  {key} ")
    page.keyboard.press("Enter")
    expect(page.locator(".card-name").first).to_have_text("Red dress")
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("#shop")).to_have_text("12 products")
    assert set(asked) - {None} == {f"Bearer {sent}" for sent in ("wrong-key", keys["admin"], key)}
    page.reload()  # the tab remembers it
    expect(page.locator("body")).to_have_attribute("data-shop", "ready")
    assert page.evaluate("localStorage.length + document.cookie.length") == 0


def test_who_asks_too_often_is_told_when_to_try_again(
    open_page: OpenPage, show: Show, closed: tuple[Any, dict[str, str]], patches: Patches, redis_url: str
) -> None:
    house, keys = closed
    key = keys["2/minute"]
    page = open_page(house)
    page.get_by_label("Key", exact=True).fill(key)
    page.keyboard.press("Enter")
    expect(page.locator("#shop")).to_have_text("12 products")
    show(page, patches("red"))
    expect(page.locator(".card-name").first).to_have_text("Red dress")
    page.clock.install()
    page.get_by_label("In stock only").uncheck()
    expect(title(page)).to_have_text("Too many searches in a short time")
    expect(page.get_by_role("alert")).to_contain_text(re.compile(r"Please try again in \d\d seconds\."))
    expect(page.locator("#trouble-wait")).to_have_css(
        "clip-path", "inset(50%)"
    )  # to be heard; seen is the button
    expect(page.get_by_role("button", name=re.compile(r"Try again in \d\d s"))).to_be_disabled()

    page.clock.run_for(61_000)
    with redis.Redis.from_url(redis_url) as counts:
        counts.delete(*counts.keys("imgsearch:local:rate*"))  # as when the minute is over
    page.get_by_role("button", name="Try again", exact=True).click()
    expect(page.locator(".card-button")).to_have_count(12)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_door_that_is_knocked_at_too_often(open_page: OpenPage, closed: tuple[Any, dict[str, str]]) -> None:
    house, keys = closed
    page = open_page(house)
    page.get_by_label("Key", exact=True).fill(keys["1/minute"])
    page.keyboard.press("Enter")
    expect(page.locator("body")).to_have_attribute("data-shop", "ready")
    page.reload()
    expect(page.locator("#notice")).to_have_text("The shop has much to do just now. Trying again…")


def test_no_network(page: Page, show: Show, patches: Patches) -> None:
    page.context.set_offline(True)
    show(page, patches("red"))
    expect(title(page)).to_have_text("The shop cannot be reached")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".card-name").first).to_have_text("Red dress")


def test_an_unknown_error_gives_a_number_to_mention(
    page: Page, show: Show, house: Any, patches: Patches
) -> None:
    house.search.fail = grpc.StatusCode.INTERNAL
    show(page, patches("red"))
    expect(title(page)).to_have_text("Something went wrong")
    trouble = page.locator("#trouble")
    expect(trouble).to_contain_text(re.compile(r"mention [0-9a-f]{32}\."))
    expect(trouble).not_to_contain_text("told to fail")


def test_an_empty_shop_opens_by_itself(
    open_page: OpenPage, run_house: Any, start: Start, tmp_path: Path
) -> None:
    with run_house(search_address=start("search")[1]) as house:
        page = open_page(house)
        expect(page.get_by_text("The shelves are still being filled")).to_be_visible()
        publish(tmp_path, house.search.catalogue())
        expect(page.get_by_text("The shelves are still being filled")).to_be_hidden(timeout=20_000)
        expect(page.locator("#shop")).to_have_text("12 products")


def test_a_shop_without_its_detector_says_so_once(
    page: Page, show: Show, house: Any, patches: Patches
) -> None:
    house.say("detect", health_pb2.HealthCheckResponse.NOT_SERVING)
    house.detect.fail = grpc.StatusCode.UNAVAILABLE
    page.reload()
    notice = page.locator("#notice")
    expect(notice).to_have_text("The picture search is not available just now. Searching by product works.")
    show(page, patches("red"))
    expect(title(page)).to_have_text("The picture search is not available just now")
    expect(notice).to_be_hidden()  # it would say the same
