"""Searching, as a shopper does it: by picture, by product, in words; filters, more of it, and back."""

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

OpenPage = Callable[..., Page]
Show = Callable[..., None]
Patches = Callable[..., bytes]


def names(page: Page) -> list[str]:
    return page.locator(".card-name").all_inner_texts()


def card(page: Page, name: str) -> Any:
    return page.locator(".card-button", has_text=name)


def test_a_picture_finds_products_another_box_others(
    page: Page, show: Show, shop: Any, patches: Patches
) -> None:
    show(page, patches("red", "blue"))
    expect(page.locator(".card-name").first).to_have_text("Red dress")
    expect(page.locator(".why").first).to_contain_text(re.compile(r"^\d+% · why\? Red dress$"))
    expect(page.locator(".mark-box")).to_have_count(2)
    expect(page.get_by_role("button", name="Dress", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#count")).to_have_text("8 products, all there are")
    expect(page.locator("#provenance")).to_contain_text(f"generation {shop.publish()}")

    page.locator(".mark-box").nth(1).click()
    expect(page.locator(".card-name").first).to_have_text("Blue dress")
    expect(page.get_by_role("button", name="Bag", exact=True)).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Whole picture").click()
    expect(page.get_by_role("button", name="Whole picture")).to_have_attribute("aria-pressed", "true")
    page.go_back()
    expect(page.locator(".card-name").first).to_have_text("Blue dress")


def test_filters_narrow_and_the_page_says_which_to_loosen(page: Page, show: Show, patches: Patches) -> None:
    show(page, patches("red"))
    expect(page.locator(".card-button")).to_have_count(8)
    expect(page.locator(".card-price").first).to_have_text("€19.00")
    expect(page.get_by_label("In stock only")).to_be_checked()
    expect(page.get_by_role("button", name="Reset filters")).to_be_hidden()

    page.locator(".pill", has_text="Bag").click()  # none of which is in stock
    expect(page.locator("#none")).to_contain_text("Nothing in the shop fits these filters.")
    expect(page.locator("#none").get_by_role("button")).to_have_text(
        ["All categories", "Also what is out of stock"]
    )
    page.get_by_role("button", name="Also what is out of stock").click()
    expect(page.locator(".card-button")).to_have_count(4)
    expect(page.locator(".tag")).to_have_text(["Out of stock"] * 4)
    expect(page.locator("#results-heading")).to_be_focused()
    page.get_by_role("button", name="Reset filters").click()
    expect(page.locator(".card-button")).to_have_count(8)
    expect(page.get_by_label("In stock only")).to_be_checked()

    page.get_by_label("From").fill("38.5")
    page.get_by_label("to", exact=True).fill("42")
    page.keyboard.press("Enter")
    expect(page.locator(".card-button")).to_have_count(4)
    assert all("shirt" in name for name in names(page))
    page.get_by_label("From").fill("999")
    page.get_by_label("to", exact=True).fill("")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Any price").click()
    expect(page.locator(".card-button")).to_have_count(8)


def test_a_result_leads_to_similar_ones_and_back(page: Page, show: Show, patches: Patches) -> None:
    show(page, patches("red"))
    card(page, "Green shirt").click()
    expect(page.get_by_role("heading", name="Similar products")).to_be_visible()
    expect(page.locator("#product-name")).to_have_text("Green shirt")
    expect(page.locator(".card-name").first).to_have_text("Green dress")
    expect(page.locator(".card-button")).to_have_count(7)
    assert page.url.endswith("/?product=green-shirt")
    expect(page).to_have_title("Similar to Green shirt · Find")

    page.reload()  # the address alone is enough
    expect(page.locator("#product-name")).to_have_text("Green shirt")
    page.go_back()
    expect(page.get_by_role("heading", name="Seen something you like?")).to_be_visible()


def test_back_is_as_it_was_left_and_asks_nobody(page: Page, show: Show, patches: Patches) -> None:
    show(page, patches("red", "blue"))
    expect(page.locator(".card-button")).to_have_count(8)
    page.set_viewport_size({"width": 1000, "height": 500})
    last = page.locator(".card-button").last
    last.scroll_into_view_if_needed()
    left, scrolled = last.get_attribute("data-product-id"), page.evaluate("scrollY")
    assert scrolled > 0
    last.click()
    expect(page.get_by_role("heading", name="Similar products")).to_be_visible()
    expect(page.locator("#product-name")).to_be_visible()
    expect(page.locator("#found")).not_to_have_attribute("aria-busy", "true")

    searches: list[str] = []
    page.on("request", lambda request: searches.append(request.url) if "/search" in request.url else None)
    page.go_back()
    expect(page.get_by_role("heading", name="Found in the shop")).to_be_visible()
    expect(page.locator(f'[data-product-id="{left}"]')).to_be_focused()
    expect(page.locator(".mark-box")).to_have_count(2)
    assert page.evaluate("scrollY") == scrolled
    page.get_by_label("In stock only").uncheck()
    expect(page.locator(".card-button")).to_have_count(12)
    page.go_forward()  # other filters than then: it is asked again
    expect(page.locator(".card-button")).to_have_count(11)
    assert len(searches) == 2


def test_more_products_on_demand(page: Page, show: Show, shop: Any, patches: Patches) -> None:
    generation = shop.publish(shop.catalogue(copies=4))
    show(page, patches("red"))
    expect(page.locator(".card-button")).to_have_count(24)
    expect(page.locator("#count")).to_have_text("The 24 most alike")
    expect(page.locator("#provenance")).to_contain_text(f"generation {generation}")
    expect(page.locator("#shop")).to_have_text("48 products")  # a new generation is noticed
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".card-button")).to_have_count(32)
    expect(page.locator(".card-button").nth(24)).to_be_focused()
    expect(page.locator("#count")).to_have_text("32 products, all there are")
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    assert (
        len(set(page.locator(".card-button").evaluate_all("all => all.map(one => one.dataset.productId)")))
        == 32
    )


def test_pages_are_asked_for_by_cursor_and_anew_when_the_index_moved(
    page: Page, shop: Any, house: Any
) -> None:
    large = shop.catalogue(copies=4)
    shop.publish(large)
    asked: list[dict[str, Any]] = []
    page.on(
        "request",
        lambda request: asked.append(request.post_data_json) if request.url.endswith("/v1/search") else None,
    )
    page.goto(f"{house.url}/?product=red-bag-0")
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".card-button")).to_have_count(32)
    expect(page.locator("#count")).to_have_text("32 products, all there are")
    assert ["cursor" in one for one in asked] == [False, True]
    assert {one["k"] for one in asked} == {24}

    page.reload()
    expect(page.locator("#count")).to_have_text("The 24 most alike")
    del large["green-bag-3"]
    shop.publish(large)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("#count")).to_have_text(
        "The 24 most alike; the shop has changed meanwhile, so they are listed anew"
    )
    expect(page.locator(".card-button")).to_have_count(24)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_where_the_pages_end_before_the_shop_does(open_page: OpenPage, shop: Any, run_house: Any) -> None:
    shop.publish(shop.catalogue(copies=4))
    with run_house(search_address=shop.search_address, max_depth=30) as house:
        house.picture_host = shop.house.picture_host
        page = open_page(house)
        page.get_by_role("textbox", name="Product number").fill("red-dress-0")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Show more").click()
        expect(page.locator("#count")).to_have_text("The 30 most alike")
        expect(page.locator(".card-button")).to_have_count(30)
        expect(page.get_by_role("button", name="Show more")).to_be_hidden()


def test_dropping_and_pasting_a_picture(page: Page, patches: Patches) -> None:
    for event, carrier in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        colour = {"drop": "green", "paste": "yellow"}[event]
        page.evaluate(
            """([event, carrier, bytes]) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], "p.jpg", { type: "image/jpeg" }));
                const kind = event === "drop" ? DragEvent : ClipboardEvent;
                const options = { [carrier]: data, bubbles: true, cancelable: true };
                if (event === "drop") document.body.dispatchEvent(new kind("dragenter", options));
                document.body.dispatchEvent(new kind(event, options));
            }""",
            [event, carrier, list(patches(colour))],
        )
        expect(page.locator(".card-name").first).to_have_text(f"{colour.title()} dress")
        expect(page.locator("#veil")).to_be_hidden()


def test_a_large_picture_is_made_smaller_before_it_travels(
    page: Page, show: Show, house: Any, large_picture: bytes
) -> None:
    show(page, large_picture)
    expect(page.locator(".card-button").first).to_be_visible()
    (request,) = house.detect.calls
    assert len(request.images[0]) < len(large_picture) / 2


def test_a_group_is_one_card_that_opens_to_its_others(
    page: Page, show: Show, shop: Any, patches: Patches
) -> None:
    shop.publish(pictures=dict.fromkeys(("red-dress", "red-bag", "red-shirt"), "red-bag"))
    show(page, patches("red"))
    page.get_by_label("In stock only").uncheck()
    expect(page.locator(".card-button")).to_have_count(10)
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
    page.locator(".pill", has_text="Shirt").click()
    expect(page.locator(".card-button")).to_have_count(4)
    box.fill("blue instead")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator(".card-name").first).to_have_text("Blue shirt")
    page.go_back()
    expect(page.locator(".card-name").first).to_have_text("Yellow shirt")

    house.embed.reads_text = False  # another embedder went live meanwhile
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("Words are not understood here")


def test_a_product_number_is_enough(page: Page) -> None:
    page.get_by_role("textbox", name="Product number").fill(" blue-shirt ")
    page.keyboard.press("Enter")
    expect(page.locator("#product-name")).to_have_text("Blue shirt")
    assert page.url.endswith("/?product=blue-shirt")


def test_the_documentation_renders_without_the_internet(page: Page, house: Any) -> None:
    page.goto(f"{house.url}/docs")
    expect(page.locator(".opblock-summary-path").first).to_have_text("/v1/search")
    page.locator(".opblock-summary").nth(1).click()
    expect(page.locator(".opblock-body").first).to_contain_text("A JPEG, PNG or WebP file.")
