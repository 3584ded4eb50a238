"""The page in a real browser, before a whole front; a promise that it breaks fails the test at its end.

The front's search is the real service, over a small index.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from serving.images.box import Box
from tests.serving.api.published import publish
from tests.serving.processes import starting

# A machine that is busy with something else is no page that does not work.
expect.set_options(timeout=20_000)

ITEM = Box(0.1, 0.2, 0.7, 0.8)


class Shop:
    """A house, and what its search holds."""

    def __init__(self, house: Any, home: Path, search_address: str) -> None:
        self.house = house
        self.search_address = search_address
        self._home = home

    def catalogue(self, copies: int = 0) -> dict[str, Any]:
        """The house's products, whose bags are sold out; or so many of each, ``red-dress-0`` and so on."""
        found = {}
        for copy in [f"-{number}" for number in range(copies)] or [""]:
            for name, (product, vector) in self.house.search.catalogue().items():
                product.in_stock = not name.endswith("bag")
                product.product_id = name + copy
                found[product.product_id] = (product, vector)
        return found

    def publish(self, catalogue: Mapping[str, Any] | None = None, **groups: Mapping[str, str]) -> str:
        """Has a catalogue served, by default the house's; the generation. ``groups`` as of ``publish``."""
        generation = publish(self._home, catalogue or self.catalogue(), parts=(ITEM, Box.whole()), **groups)
        until = time.monotonic() + 20
        while self.house.http.get("/v1/status").json()["generation"] != generation:
            assert time.monotonic() < until
            time.sleep(0.02)
        return generation


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


@pytest.fixture(scope="session")
def running_shop(tmp_path_factory: pytest.TempPathFactory, run_house: Any, redis_url: str) -> Iterator[Shop]:
    home = tmp_path_factory.mktemp("shop")
    with starting(home) as start:
        _, address = start("search")
        with run_house(
            search_address=address, redis_url=redis_url, redis_timeout_s=1.0, result_ttl_s=0
        ) as house:
            yield Shop(house, home, address)


@pytest.fixture
def shop(running_shop: Shop) -> Shop:
    running_shop.house.reset()
    running_shop.publish()
    return running_shop


@pytest.fixture
def house(shop: Shop) -> Any:
    return shop.house


@pytest.fixture
def open_page(browser: Browser, house: Any) -> Iterator[Callable[..., Page]]:
    """Opens a house's page, as on a desktop if nothing else is said.

    At the end: nothing threw, broke the policy or complained on the console, and nothing but pictures came
    from elsewhere.
    """
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def said(kind: str, text: str) -> None:
        answered = "Failed to load resource"  # the browser's own line for every error that a test asks for
        if kind == "error" and not text.startswith(answered):
            wrong.append(text)

    def asked(of: Any, url: str, kind: str) -> None:
        ours = (of.url, "blob:", "data:")
        if not url.startswith(ours) and not (kind == "image" and url.startswith(of.picture_host)):
            wrong.append(f"a request for {kind} {url}")

    def opened(of: Any = house, **options: Any) -> Page:
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "locale": "en-IE", **options}
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda line: said(line.type, line.text))
        page.on("request", lambda request: asked(of, request.url, request.resource_type))
        page.goto(of.url)
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
