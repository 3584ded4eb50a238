"""The page in a real browser, before a whole front; a promise that it breaks fails the test at its end."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright


@pytest.fixture(scope="module")  # its loop would be in the way of tests that bring their own
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


@pytest.fixture(autouse=True)
def sold_out_bags(house: Any) -> None:
    for name, (product, _) in house.search.products.items():
        product.in_stock = not name.endswith("bag")


@pytest.fixture
def open_page(browser: Browser, house: Any) -> Iterator[Callable[..., Page]]:
    """Opens the page of a house, as on a desktop if nothing else is said.

    At the end: nothing threw, broke the policy or complained on the console, and nothing but pictures came
    from elsewhere.
    """
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def said(kind: str, text: str) -> None:
        answered = "Failed to load resource"  # the browser's own line for every error that a test asks for
        if kind == "error" and not text.startswith(answered):
            wrong.append(text)

    def asked(shop: Any, url: str, kind: str) -> None:
        ours = (shop.url, "blob:", "data:")
        if not url.startswith(ours) and not (kind == "image" and url.startswith(shop.picture_host)):
            wrong.append(f"a request for {kind} {url}")

    def opened(shop: Any = house, **options: Any) -> Page:
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "locale": "en-IE", **options}
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda line: said(line.type, line.text))
        page.on("request", lambda request: asked(shop, request.url, request.resource_type))
        page.goto(shop.url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    page = open_page()
    expect(page.locator("body")).to_have_attribute("data-shop", "ready")
    return page


@pytest.fixture
def show() -> Callable[..., None]:
    def show(page: Page, data: bytes, name: str = "picture.jpg", mime: str = "image/jpeg") -> None:
        page.set_input_files("#file", {"name": name, "mimeType": mime, "buffer": data})

    return show
