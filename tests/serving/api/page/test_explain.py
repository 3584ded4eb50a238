"""Why a product is there: in pictures, with the figure, and with what the index holds of it."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

Show = Callable[..., None]
Patches = Callable[..., bytes]


@pytest.fixture
def sheet(page: Page, house: Any) -> Locator:
    house.search.groups = dict.fromkeys(("red-shirt", "green-dress", "gone-since"), "one")
    house.search.same_picture = ("red-bag",)
    return page.get_by_role("dialog")


def test_from_an_upload_to_why(page: Page, sheet: Locator, show: Show, house: Any, patches: Patches) -> None:
    house.search.created_at = time.time() - 185
    show(page, patches("red", "blue"))
    page.get_by_role("button", name="Bag", exact=True).click()
    expect(page.locator(".card-name").first).to_have_text("Blue dress")
    page.locator(".pill", has_text="Shirt").click()
    expect(page.locator(".card-button")).to_have_count(4)
    page.get_by_role("button", name=re.compile("why. Red shirt")).click()

    expect(sheet).to_have_accessible_name("Red shirt")
    expect(sheet.get_by_role("heading", name="Red shirt")).to_be_focused()
    expect(sheet.locator(".facts")).to_have_text("Nordlys · €39.00 · in stock")
    expect(sheet.locator(".verdict")).to_have_text(
        re.compile(r"^\d+% .+\. Number [234] of what was found\.$")
    )
    mine, its = (
        sheet.get_by_role("img", name="The part searched with"),
        sheet.get_by_role("img", name="The part that matched"),
    )
    # The blue patch of the shopper's 320 x 240 picture alone, and all of the product's 200 x 240.
    expect(mine).to_have_js_property("width", 61)
    expect(mine).to_have_js_property("height", 161)
    expect(its).to_have_js_property("width", 200)
    expect(its).to_have_js_property("height", 240)
    expect(sheet.get_by_text("Your picture")).to_be_visible()

    pictures = sheet.locator(".indexed li")
    expect(pictures).to_have_text(["This one matched"])
    expect(pictures.locator(".mark-part")).to_have_count(2)
    variants = sheet.get_by_role("heading", name="In other colours").locator("+ ul a")
    expect(variants).to_have_text(["Green dress · green · €20.00", "gone-since"])
    expect(sheet.get_by_role("link", name="Red bag · red · €29.00")).to_be_visible()
    expect(sheet.get_by_text("embedder-1")).to_be_hidden()
    sheet.get_by_text("For those who ask").click()
    expect(sheet.locator("dl")).to_have_text(
        re.compile("Generationgeneration-1Made3 minutes agoDetectordetector-1Embedderembedder-1")
    )

    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    expect(page.get_by_role("button", name=re.compile("why. Red shirt"))).to_be_focused()


def test_between_two_products_both_parts_are_told(page: Page, sheet: Locator, house: Any) -> None:
    page.goto(f"{house.url}/?product=red-dress")
    page.locator(".why").first.click()
    expect(sheet.locator("figcaption")).to_have_text(["Red dress", "What matched"])
    # Seven tenths of 200 x 240, as the explanation says.
    expect(sheet.get_by_role("img", name="The part searched with")).to_have_js_property("width", 140)
    sheet.get_by_role("button", name="Show similar products").click()
    expect(sheet).to_be_hidden()
    expect(page.locator("#product-name")).not_to_have_text("Red dress")

    page.get_by_role("button", name="About this product").click()
    expect(sheet.locator(".pair")).to_have_count(0)
    expect(sheet.locator(".indexed img")).to_have_count(1)
    sheet.get_by_role("link", name=re.compile("Green dress")).click()
    expect(sheet).to_be_hidden()
    expect(page.locator("#product-name")).to_have_text("Green dress")


def test_words_have_no_picture_to_show(page: Page, sheet: Locator, house: Any) -> None:
    house.embed.reads_text = True
    page.goto(f"{house.url}/?text=something+blue")
    page.locator(".why").first.click()
    expect(sheet.locator("blockquote")).to_have_text("something blue")
    expect(sheet.locator(".verdict")).to_contain_text("Fits the words. The best of what was found.")


def test_what_is_at_hand_is_shown_when_no_more_can_be_told(page: Page, show: Show, patches: Patches) -> None:
    page.route(re.compile(r"/explain(\?|$)"), lambda route: route.abort())
    show(page, patches("red"))
    page.locator(".why").first.click()
    sheet = page.get_by_role("dialog")
    expect(sheet.locator(".verdict")).to_contain_text("The best of what was found.")
    expect(sheet.get_by_text("More cannot be told just now: The shop cannot be reached.")).to_be_visible()
    sheet.get_by_role("button", name="Close").click()
    expect(sheet).to_be_hidden()


def test_a_click_beside_it_and_going_back_close_it(
    page: Page, sheet: Locator, show: Show, house: Any, patches: Patches
) -> None:
    show(page, patches("red"))
    page.locator(".why").first.click()
    expect(sheet).to_be_visible()
    page.mouse.click(5, 5)
    expect(sheet).to_be_hidden()
    page.locator(".why").first.click()
    expect(sheet).to_be_visible()
    page.go_back()
    expect(sheet).to_be_hidden()
    expect(page.get_by_role("heading", name="Seen something you like?")).to_be_visible()
