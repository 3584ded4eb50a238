"""The page as a shopper meets it, in a real browser."""

import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from playwright.sync_api import Browser, Page, expect, sync_playwright


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("chromium is not on the PATH; install it (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, house: Any) -> Iterator[Page]:
    """The page, open, on a desktop; at the end nothing broke its policy or threw."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-IE")
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None,
    )
    page.goto(house.url)
    expect(page.locator("body")).to_have_attribute("data-shop", "ready")
    yield page
    context.close()
    assert wrong == []


def show(page: Page, data: bytes, name: str = "picture.jpg", mime: str = "image/jpeg") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": mime, "buffer": data})


def names(page: Page) -> list[str]:
    return page.locator(".card-name").all_inner_texts()


def test_a_picture_finds_products_another_box_others(page: Page, patches: Callable[..., bytes]) -> None:
    show(page, patches("red", "blue"))
    expect(page.locator(".card-name").first).to_have_text("Red dress")
    expect(page.locator(".mark-box")).to_have_count(2)
    expect(page.get_by_role("button", name="Dress 95%")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#count")).to_have_text("12 products, all there are")
    expect(page.locator("#provenance")).to_contain_text("generation generation-1")

    page.locator(".mark-box").nth(1).click()
    expect(page.locator(".card-name").first).to_have_text("Blue dress")
    expect(page.get_by_role("button", name="Bag 75%")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Whole picture").click()
    expect(page.get_by_role("button", name="Whole picture")).to_have_attribute("aria-pressed", "true")
    page.go_back()
    expect(page.locator(".card-name").first).to_have_text("Blue dress")


def test_filters_narrow_and_clear(page: Page, house: Any, patches: Callable[..., bytes]) -> None:
    for name, (product, _) in house.search.products.items():
        product.in_stock = not name.endswith("bag")
    show(page, patches("red"))
    expect(page.locator(".card")).to_have_count(8)
    expect(page.locator(".card-price").first).to_have_text("€19.00")
    expect(page.get_by_role("button", name="Clear filters")).to_be_hidden()

    page.locator(".pill", has_text="Bag").click()
    expect(page.locator("#none")).to_be_visible()
    page.get_by_label("In stock only").uncheck()
    expect(page.locator(".card")).to_have_count(4)
    expect(page.locator(".tag")).to_have_count(4)
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator(".card")).to_have_count(8)

    page.get_by_label("From").fill("38.5")
    page.get_by_label("to", exact=True).fill("42")
    page.keyboard.press("Enter")
    expect(page.locator(".card")).to_have_count(4)
    assert all("shirt" in name for name in names(page))


def test_a_result_leads_to_similar_ones_and_back(page: Page, patches: Callable[..., bytes]) -> None:
    show(page, patches("red"))
    page.get_by_role("button", name=re.compile("Green shirt")).click()
    expect(page.get_by_role("heading", name="Similar products")).to_be_visible()
    expect(page.locator("#product-name")).to_have_text("Green shirt")
    expect(page.locator(".card-name").first).to_have_text("Green bag")
    expect(page.locator(".card")).to_have_count(11)
    assert page.url.endswith("/?product=green-shirt")

    page.reload()  # the address alone is enough
    expect(page.locator("#product-name")).to_have_text("Green shirt")
    page.go_back()
    expect(page.get_by_role("heading", name="Seen something you like?")).to_be_visible()


def test_more_products_on_demand_and_a_new_generation_is_noticed(
    page: Page, house: Any, patches: Callable[..., bytes]
) -> None:
    for copy in range(3):
        for product, vector in house.search.catalogue().values():
            product.product_id += f"-{copy}"
            house.search.products[product.product_id] = (product, vector)
    house.search.generation = "generation-2"
    show(page, patches("red"))
    expect(page.locator(".card-button")).to_have_count(24)
    expect(page.locator("#provenance")).to_contain_text("generation generation-2")
    expect(page.locator("#shop")).to_have_text("48 products")
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".card-button")).to_have_count(48)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("#count")).to_have_text("48 products, all there are")
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()


def test_a_product_that_is_gone_is_told_kindly(page: Page, house: Any) -> None:
    page.goto(f"{house.url}/?product=sold-yesterday")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("It is no longer in the shop")
    expect(alert.get_by_role("button")).to_be_hidden()


def test_what_is_no_picture_is_told_as_a_person_would(page: Page) -> None:
    show(page, b"hello", "notes.txt", "text/plain")
    expect(page.get_by_role("alert")).to_contain_text("This is not a picture")
    show(page, b"hello, I say I am one", "picture.jpg")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("This picture cannot be used")
    expect(alert).to_contain_text("Not a picture; send JPEG, PNG or WebP.")
    expect(page.get_by_role("button", name="Choose a picture")).to_be_visible()


def test_a_busy_shop_asks_to_try_again(page: Page, house: Any, patches: Callable[..., bytes]) -> None:
    house.embed.fail = grpc.StatusCode.RESOURCE_EXHAUSTED
    show(page, patches("red"))
    expect(page.get_by_role("alert")).to_contain_text("Many people are searching")
    house.embed.fail = None
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".card-name").first).to_have_text("Red dress")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_an_unknown_error_gives_a_number_to_mention(
    page: Page, house: Any, patches: Callable[..., bytes]
) -> None:
    house.search.fail = grpc.StatusCode.INTERNAL
    show(page, patches("red"))
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Something went wrong")
    expect(alert).to_contain_text(re.compile(r"mention [0-9a-f]{32}\."))
    expect(alert).not_to_contain_text("told to fail")


def test_an_empty_shop_opens_by_itself(page: Page, house: Any) -> None:
    house.search.generation = ""
    house.say("search", health_pb2.HealthCheckResponse.NOT_SERVING)
    page.reload()
    expect(page.get_by_text("The shelves are still being filled")).to_be_visible()
    house.reset()
    expect(page.get_by_text("The shelves are still being filled")).to_be_hidden(timeout=10_000)
    expect(page.locator("#shop")).to_have_text("12 products")


def test_dropping_and_pasting_a_picture(page: Page, patches: Callable[..., bytes]) -> None:
    for event, carrier in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        colour = {"drop": "green", "paste": "yellow"}[event]
        page.evaluate(
            """([event, carrier, bytes]) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], "p.jpg", { type: "image/jpeg" }));
                const kind = event === "drop" ? DragEvent : ClipboardEvent;
                const options = { [carrier]: data, bubbles: true, cancelable: true };
                document.body.dispatchEvent(new kind(event, options));
            }""",
            [event, carrier, list(patches(colour))],
        )
        expect(page.locator(".card-name").first).to_have_text(f"{colour.title()} dress")


def test_a_large_picture_is_made_smaller_before_it_travels(
    page: Page, house: Any, large_picture: bytes
) -> None:
    show(page, large_picture)
    expect(page.locator(".card-button").first).to_be_visible()
    (request,) = house.detect.calls
    assert len(request.images[0]) < len(large_picture) / 2


def test_everything_can_be_done_from_the_keyboard(page: Page, patches: Callable[..., bytes]) -> None:
    picture = {"name": "p.jpg", "mimeType": "image/jpeg", "buffer": patches("red", "blue")}
    # Asked for before anything else: the browser hands choosers over only once it has heard of it.
    page.on("filechooser", lambda chooser: chooser.set_files(picture))
    expect(page.locator("body")).to_have_attribute("data-shop", "ready")
    pick = page.locator(".pick").first
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(pick).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".card-name").first).to_have_text("Red dress")
    expect(page.locator("#results-heading")).to_be_focused()
    page.get_by_role("button", name="Bag 75%").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".card-name").first).to_have_text("Blue dress")


def test_nothing_overflows_a_narrow_phone(
    browser: Browser, house: Any, patches: Callable[..., bytes]
) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(house.url)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) == 0
    show(page, patches("red", "blue"))
    expect(page.locator(".card")).to_have_count(12)
    assert page.evaluate(wide) == 0
    page.locator(".card-button").first.tap()
    expect(page.get_by_role("heading", name="Similar products")).to_be_visible()
    assert page.evaluate(wide) == 0
    context.close()


def test_the_documentation_renders_without_the_internet(page: Page, house: Any) -> None:
    outside: list[str] = []
    page.on("request", lambda request: None if house.url in request.url else outside.append(request.url))
    page.goto(f"{house.url}/docs")
    expect(page.locator(".opblock-summary-path").first).to_have_text("/v1/search")
    page.locator(".opblock-summary").nth(1).click()
    expect(page.locator(".opblock-body").first).to_contain_text("A JPEG, PNG or WebP file.")
    assert [url for url in outside if not url.startswith("data:")] == []


def test_a_group_is_one_card_that_opens_to_its_others(
    page: Page, house: Any, patches: Callable[..., bytes]
) -> None:
    house.search.groups = dict.fromkeys(("red-dress", "red-bag", "red-shirt"), "red-dress")
    show(page, patches("red"))
    expect(page.locator(".card")).to_have_count(10)
    line = page.locator(".also summary")
    expect(line).to_have_count(1)
    expect(line).to_have_text("+2 with the same picture: Red dress")
    expect(page.get_by_role("link", name="Red bag")).to_be_hidden()
    line.focus()
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="Red bag · red · €29.00")
    expect(link).to_be_visible()
    page.keyboard.press("Tab")
    expect(link).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#product-name")).to_have_text("Red bag")
    assert page.url.endswith("/?product=red-bag")
    page.go_back()
    expect(page.locator(".also summary")).to_have_count(1)


def test_words_are_asked_for_where_they_are_understood(page: Page, house: Any) -> None:
    box = page.get_by_role("searchbox", name="Words to search with")
    expect(box).to_have_count(0)
    house.embed.reads_text = True
    page.reload()
    expect(box).to_be_visible()
    box.fill("something yellow")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="“something yellow”")).to_be_visible()
    expect(page.locator(".card-name").first).to_have_text("Yellow dress")
    assert page.url.endswith("/?text=something+yellow")
    page.locator(".pill", has_text="Bag").click()
    expect(page.locator(".card")).to_have_count(4)
    box.fill("blue instead")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator(".card-name").first).to_have_text("Blue bag")
    page.go_back()
    expect(page.locator(".card-name").first).to_have_text("Yellow bag")

    house.embed.reads_text = False  # another embedder went live meanwhile
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("Words are not understood here")
