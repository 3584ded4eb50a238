"""Why a product is there: in pictures, with the figure, and with what the index holds of it."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

Show = Callable[..., None]
Patches = Callable[..., bytes]


@pytest.fixture
def sheet(page: Page) -> Locator:
    return page.get_by_role("dialog")


def test_from_an_upload_to_why(page: Page, sheet: Locator, show: Show, shop: Any, patches: Patches) -> None:
    family = ("red-shirt", "green-dress", "blue-dress")
    generation = shop.publish(
        pictures=dict.fromkeys(("red-shirt", "red-bag"), "red-shirt"),
        variants=dict.fromkeys(family, "red-shirt"),
    )
    page.reload()
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
    # The blue patch of the shopper's 320 x 240 picture alone, and six tenths of the product's 200 x 240.
    expect(mine).to_have_js_property("width", 61)
    expect(mine).to_have_js_property("height", 161)
    expect(its).to_have_js_property("width", 120)
    expect(its).to_have_js_property("height", 144)
    expect(sheet.get_by_text("Your picture")).to_be_visible()

    pictures = sheet.locator(".indexed li")
    expect(pictures).to_have_text(["This one matched"])
    expect(pictures.locator(".mark-part")).to_have_count(2)
    variants = sheet.get_by_role("heading", name="In other colours").locator("+ ul a")
    expect(variants).to_have_text(["Blue dress · blue · €21.00", "Green dress · green · €20.00"])
    expect(sheet.get_by_role("link", name="Red bag · red · €29.00")).to_be_visible()
    expect(sheet.get_by_text("embedder-1")).to_be_hidden()
    sheet.get_by_text("For those who ask").click()
    expect(sheet.locator("dl")).to_have_text(
        re.compile(rf"^Generation{generation}Made(now|.+ ago)Detectordetector-1Embedderembedder-1$")
    )

    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    expect(page.get_by_role("button", name=re.compile("why. Red shirt"))).to_be_focused()


def test_when_it_was_is_told_in_the_longest_span_that_fits(page: Page) -> None:
    def ago(past_s: float) -> str:
        asked = "past => import('/page/format.js').then(({ ago }) => ago(Date.now() / 1000 - past))"
        return str(page.evaluate(asked, past_s))

    assert [ago(past_s) for past_s in (-5, 59, 185, 7300, 90_000)] == [
        "now",
        "59 seconds ago",
        "3 minutes ago",
        "2 hours ago",
        "yesterday",
    ]


def test_one_of_its_family_that_is_gone_since_keeps_its_number(
    page: Page, sheet: Locator, show: Show, shop: Any, patches: Patches
) -> None:
    shop.publish(variants=dict.fromkeys(("red-dress", "green-dress"), "red-dress"))
    held: list[Route] = []
    page.route("**/v1/products/green-dress", lambda route: held.append(route))
    show(page, patches("red"))
    page.locator(".why").first.click()
    link = sheet.get_by_role("link", name="green-dress")
    expect(link).to_be_visible()
    left = shop.catalogue()
    del left["green-dress"]
    shop.publish(left)
    with page.expect_response("**/v1/products/green-dress") as told:
        held.pop().continue_()
    assert told.value.status == 404
    expect(link).to_have_text("green-dress")


def test_between_two_products_both_parts_are_told(page: Page, sheet: Locator, shop: Any, house: Any) -> None:
    shop.publish(variants=dict.fromkeys(("red-bag", "green-dress"), "red-bag"))
    page.goto(f"{house.url}/?product=red-dress")
    page.locator(".why").first.click()
    expect(sheet.locator("figcaption")).to_have_text(["Red dress", "What matched"])
    # Six tenths of 200 x 240, as the explanation says.
    expect(sheet.get_by_role("img", name="The part searched with")).to_have_js_property("width", 120)
    sheet.get_by_role("button", name="Show similar products").click()
    expect(sheet).to_be_hidden()
    expect(page.locator("#product-name")).to_have_text("Red shirt")

    page.goto(f"{house.url}/?product=red-bag")
    expect(page.locator("#product-facts")).to_have_text("Nordlys · €29.00 · out of stock")

    page.get_by_role("button", name="About this product").click()
    expect(sheet.locator(".pair")).to_have_count(0)
    expect(sheet.locator(".indexed img")).to_have_count(1)
    expect(sheet.get_by_text("This one matched")).to_have_count(0)
    expect(sheet.get_by_role("button", name="Show similar products")).to_have_count(0)
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
    show(page, patches("red"))
    expect(page.locator(".card-button")).to_have_count(8)
    page.context.set_offline(True)
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
