"""What the page says when something goes wrong: one message, kindly, with the mend."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from playwright.sync_api import Page, expect

from serving.identity.store import create
from serving.object_store import LocalObjectStore

Show = Callable[..., None]
Patches = Callable[..., bytes]


def title(page: Page) -> Any:
    return page.get_by_role("alert").get_by_role("heading")


def test_a_product_that_is_gone(page: Page, house: Any) -> None:
    page.goto(f"{house.url}/?product=sold-yesterday")
    expect(title(page)).to_have_text("It is not in the shop")
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    expect(page.get_by_role("button", name="Choose a picture")).to_be_visible()


def test_what_is_no_picture(page: Page, show: Show) -> None:
    show(page, b"hello", "notes.txt", "text/plain")
    expect(title(page)).to_have_text("This is not a picture")
    show(page, b"hello, I say I am one", "picture.jpg")
    expect(title(page)).to_have_text("This picture cannot be used")
    expect(page.get_by_role("alert")).to_contain_text("Not a picture; send JPEG, PNG or WebP.")
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
    open_page: Callable[..., Page], run_house: Any, show: Show, large_picture: bytes
) -> None:
    with run_house(redis_url=None, max_picture_bytes=300_000) as strict:
        page = open_page(strict)
        expect(page.locator("body")).to_have_attribute("data-shop", "ready")
        show(page, large_picture)
        expect(title(page)).to_have_text("This picture is too large")
        expect(page.get_by_role("alert")).to_contain_text("At most 0.3 MB can be sent. Choose a smaller one.")
        assert strict.detect.calls == []


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


def test_a_busy_shop_says_when_to_try_again(page: Page, show: Show, house: Any, patches: Patches) -> None:
    # Real ones name no number of seconds that a test could wait for.
    error = {"code": "overloaded", "message": "too many searches at once", "request_id": "1"}
    busy = {"status": 429, "headers": {"Retry-After": "3"}, "json": {"error": error}}
    page.route("**/v1/search/image", lambda route: route.fulfill(**busy), times=1)
    show(page, patches("red"))
    expect(title(page)).to_have_text("Many people are searching")
    expect(page.get_by_role("alert")).to_contain_text("Please try again in 3 seconds.")
    expect(page.get_by_role("button", name=re.compile(r"Try again in \d s"))).to_be_disabled()
    page.get_by_role("button", name="Try again", exact=True).click()  # once it may be
    expect(page.locator(".card-name").first).to_have_text("Red dress")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_real_overload_is_told_too(page: Page, show: Show, house: Any, patches: Patches) -> None:
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
    open_page: Callable[..., Page], run_house: Any, show: Show, tmp_path: Path, patches: Patches
) -> None:
    store = LocalObjectStore(tmp_path / "objects")
    right, other = (create(store, "local", name, [name])[1] for name in ("search", "admin"))
    with run_house(home=tmp_path, open=False, service_key=right, redis_url=None) as closed:
        page = open_page(closed)
        expect(title(page)).to_have_text("This shop’s search needs a key")
        field = page.get_by_label("Key", exact=True)
        expect(field).to_be_focused()
        expect(page.get_by_role("button", name="Try again")).to_be_hidden()
        for wrong in ("wrong-key", other):
            field.fill(wrong)
            page.keyboard.press("Enter")
            expect(title(page)).to_have_text("This key is not accepted")
            show(page, patches("red"))
            expect(title(page)).to_have_text("This key is not accepted")
        assert closed.detect.calls == []
        field.fill(f"  {right} ")
        page.keyboard.press("Enter")
        expect(page.locator(".card-name").first).to_have_text("Red dress")
        expect(page.get_by_role("alert")).to_be_hidden()
        expect(page.locator("#shop")).to_have_text("12 products")
        page.reload()  # the tab remembers it
        expect(page.locator("body")).to_have_attribute("data-shop", "ready")
        assert page.evaluate("localStorage.length + document.cookie.length") == 0


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


def test_an_empty_shop_opens_by_itself(page: Page, house: Any) -> None:
    house.search.generation = ""
    house.say("search", health_pb2.HealthCheckResponse.NOT_SERVING)
    page.reload()
    expect(page.get_by_text("The shelves are still being filled")).to_be_visible()
    house.reset()
    expect(page.get_by_text("The shelves are still being filled")).to_be_hidden(timeout=20_000)
    expect(page.locator("#shop")).to_have_text("12 products")


def test_a_shop_without_its_detector_says_so_at_the_door(page: Page, house: Any) -> None:
    house.say("detect", health_pb2.HealthCheckResponse.NOT_SERVING)
    page.reload()
    expect(page.locator("#notice")).to_have_text(
        "The picture search is not available just now. Searching by product works."
    )
