"""Usable by everyone: by keyboard, by screen reader, by finger on a small phone, in the dark."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

Show = Callable[..., None]
Patches = Callable[..., bytes]
OpenPage = Callable[..., Page]

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}

# Controls that can be seen and have less room for a finger than 44 x 44 CSS pixels. A field in a label takes
# the label's room; a box on the picture has a twin among the words below it.
SMALL = """() => [...document.querySelectorAll("a, button, input, select, textarea, summary")]
    .filter((node) => node.checkVisibility() && !node.matches(".mark-box, .skip"))
    .map((node) => [node, (node.closest("label") ?? node).getBoundingClientRect()])
    .filter(([node, { width, height }]) => width < 44 || height < 44)
    .map(([node, { width, height }]) => `${node.outerHTML.slice(0, 80)}: ${width} x ${height}`)"""

# Words that do not fit into their button.
CUT = """() => [...document.querySelectorAll(".button, .choice")]
    .filter((node) => node.scrollWidth > node.clientWidth)
    .map((node) => node.textContent)"""

WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

# Texts with less contrast to what is behind them than WCAG 2 asks for at level AA.
FAINT = """() => {
    const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        probe.clearRect(0, 0, 1, 1);
        probe.fillStyle = colour;
        probe.fillRect(0, 0, 1, 1);
        return [...probe.getImageData(0, 0, 1, 1).data];
    };
    const light = (colour) => colour.slice(0, 3)
        .map((part) => part / 255)
        .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
    const behind = (node) => {
        for (let at = node; at; at = at.parentElement) {
            const colour = rgba(getComputedStyle(at).backgroundColor);
            if (colour[3] > 200) return colour;
        }
        return [255, 255, 255, 255];
    };
    const faint = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.textContent.trim() || !node.checkVisibility() || node.disabled) continue;
        if (node.closest(".hidden, .skip")) continue;
        const style = getComputedStyle(node);
        const [a, b] = [light(rgba(style.color)), light(behind(node))].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) {
            faint.push(`${node.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
        }
    }
    return faint;
}"""

# Controls without a name, pictures without a word on whether they say something, ids that are there twice.
NAMELESS = """() => [
    ...[...document.images].filter((node) => !node.hasAttribute("alt")),
    ...[...document.querySelectorAll("input")].filter((node) => !node.labels.length && !node.ariaLabel),
    ...[...document.querySelectorAll("[id]")].filter((node) => document.getElementById(node.id) !== node),
].map((node) => node.outerHTML.slice(0, 100))"""


def controls(page: Page) -> list[str]:
    """The lines of the accessibility tree that are controls."""
    tree = page.locator("body").aria_snapshot()
    kinds = "button|link|textbox|searchbox|checkbox|spinbutton|img"
    return re.findall(rf"^\s*- '?(?:{kinds})\b.*$", tree, re.MULTILINE)


def test_from_picking_a_picture_to_why_by_keyboard_alone(page: Page, patches: Patches) -> None:
    picture = {"name": "p.jpg", "mimeType": "image/jpeg", "buffer": patches("red", "blue")}
    # Asked for before anything else: the browser hands choosers over only once it has heard of it.
    page.on("filechooser", lambda chooser: chooser.set_files(picture))
    focused = page.locator(":focus")

    def tab_to(selector: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if focused.evaluate("(node, selector) => node.matches(selector)", selector):
                return
        pytest.fail(f"no way to {selector} by Tab")

    tab_to("#start .pick")
    page.keyboard.press("Enter")
    expect(page.locator(".card-name").first).to_have_text("Red dress")
    expect(page.locator("#results-heading")).to_be_focused()
    page.get_by_role("button", name="Skip to the results").focus()  # back to the top, and down again
    tab_to(".choice:nth-child(2)")
    page.keyboard.press("Enter")
    expect(page.locator(".card-name").first).to_have_text("Blue dress")
    expect(page.get_by_role("button", name="Bag", exact=True)).to_be_focused()  # where the reader was
    tab_to("#categories input[value=shirt]")
    page.keyboard.press("Space")
    expect(page.locator(".card-button")).to_have_count(4)
    expect(page.get_by_role("checkbox", name="Shirt")).to_be_focused()
    tab_to("#in-stock")
    page.keyboard.press("Space")
    expect(page.locator("#found")).not_to_have_attribute("aria-busy", "true")
    expect(page.locator(".card-button")).to_have_count(4)
    tab_to(".why")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    tab_to(".shut")
    page.keyboard.press("Enter")
    expect(page.locator(".why").first).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.locator(".card-button").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#product-name")).to_have_text("Blue shirt")
    expect(page.locator("#results-heading")).to_be_focused()
    page.go_back()  # what Alt and the left arrow do
    expect(page.locator(".card-button").first).to_be_focused()


def test_who_is_faster_than_the_answer_goes_on_at_its_heading(
    page: Page, show: Show, patches: Patches
) -> None:
    show(page, patches("red"))
    expect(page.locator(".card-button")).to_have_count(8)
    held: list[Route] = []
    page.route("**/v1/search/image", lambda route: held.append(route))
    page.get_by_label("In stock only").uncheck()
    page.locator(".card-button").first.focus()
    held.pop().continue_()
    expect(page.locator(".card-button")).to_have_count(12)
    expect(page.locator("#results-heading")).to_be_focused()


def test_the_first_stop_skips_what_comes_before_the_results(page: Page, house: Any) -> None:
    page.keyboard.press("Tab")
    skip = page.get_by_role("button", name="Skip to the results")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Choose a picture")).to_be_focused()
    page.goto(f"{house.url}/?product=red-dress")
    expect(page.locator(".card-button").first).to_be_visible()
    skip.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#results-heading")).to_be_focused()


def test_a_phone_shows_all_without_sideways_scrolling_and_with_room_for_fingers(
    open_page: OpenPage, show: Show, shop: Any, patches: Patches
) -> None:
    shop.publish(pictures=dict.fromkeys(("red-dress", "red-shirt"), "red-dress"))
    page = open_page(**PHONE)
    expect(page.locator("body")).to_have_attribute("data-shop", "ready")
    expect(page.get_by_text("from the camera or your album")).to_be_visible()
    assert page.locator("#file").get_attribute("accept") == "image/*"
    assert (page.evaluate(WIDE), page.evaluate(SMALL)) == (0, [])

    show(page, patches(*["red", "blue", "green", "yellow"] * 2, size=(800, 240)))  # a row of nine choices
    expect(page.locator(".card-button").first).to_be_in_viewport()  # without scrolling
    expect(page.locator(".card-button")).to_have_count(7)
    assert page.evaluate(CUT) == []
    expect(page.get_by_label("In stock only")).to_be_hidden()
    page.get_by_role("button", name="Filters (1)").tap()
    page.locator(".pill", has_text="Bag").tap()
    expect(page.locator("#none")).to_be_visible()
    assert (page.evaluate(WIDE), page.evaluate(SMALL)) == (0, [])
    page.get_by_role("button", name="Filters (2)").tap()
    expect(page.get_by_label("In stock only")).to_be_hidden()
    page.get_by_role("button", name="All categories").tap()
    page.locator(".also summary").tap()
    expect(page.get_by_role("link", name=re.compile("Red shirt"))).to_be_visible()
    assert (page.evaluate(WIDE), page.evaluate(SMALL)) == (0, [])

    page.locator(".why").first.tap()
    expect(page.get_by_text("This one matched")).to_be_visible()
    assert (page.evaluate(WIDE), page.evaluate(SMALL)) == (0, [])
    page.get_by_role("button", name="Close").tap()
    page.locator(".card-button").first.tap()
    expect(page.get_by_role("heading", name="Similar products")).to_be_visible()
    expect(page.locator(".card-button").first).to_be_visible()
    assert (page.evaluate(WIDE), page.evaluate(SMALL)) == (0, [])


def test_a_box_is_chosen_by_a_tap_on_the_picture(open_page: OpenPage, show: Show, patches: Patches) -> None:
    page = open_page(**PHONE)
    show(page, patches("red", "blue"))
    page.locator(".mark-box").nth(1).tap()
    expect(page.locator(".card-name").first).to_have_text("Blue dress")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_has_a_name_and_can_be_read(
    open_page: OpenPage, show: Show, patches: Patches, scheme: str
) -> None:
    page = open_page(color_scheme=scheme)
    expect(page.locator("body")).to_have_attribute("data-shop", "ready")

    def hold() -> None:
        assert page.evaluate(FAINT) == []
        assert page.evaluate(NAMELESS) == []
        assert [line for line in controls(page) if '"' not in line] == []

    hold()
    show(page, b"hello", "notes.txt", "text/plain")
    expect(page.get_by_role("alert")).to_be_visible()
    hold()
    show(page, patches("red", "blue"))
    page.get_by_label("In stock only").uncheck()
    expect(page.locator(".card-button")).to_have_count(12)
    hold()
    page.locator(".why").first.click()
    page.get_by_text("For those who ask").click()
    hold()
    assert len(controls(page)) > 5  # that is, they were looked at


def test_landmarks_and_one_heading_lead_a_screen_reader(page: Page, show: Show, patches: Patches) -> None:
    def headings() -> list[str]:
        return page.get_by_role("heading", level=1).all_inner_texts()

    for landmark in ("banner", "main", "contentinfo"):
        expect(page.get_by_role(landmark)).to_be_visible()
    assert headings() == ["Seen something you like?"]
    show(page, patches("red"))
    expect(page.locator("#count")).to_have_text("8 products, all there are")
    assert headings() == ["Found in the shop"]
    expect(page.get_by_role("complementary", name="What you searched with")).to_be_visible()
    expect(page.get_by_role("region", name="Found in the shop")).to_be_visible()
    expect(page.get_by_role("form", name="Filters")).to_be_visible()
    expect(page.get_by_role("group", name="What to search for")).to_be_visible()
    expect(page.locator("#count")).to_have_role("status")


def test_nothing_moves_for_those_who_asked_for_that(
    open_page: OpenPage, show: Show, patches: Patches
) -> None:
    page = open_page(reduced_motion="reduce")
    held: list[Route] = []
    page.route("**/v1/search/image", lambda route: held.append(route))
    show(page, patches("red"))
    expect(page.get_by_role("status").filter(has_text="Looking at the picture…")).to_be_visible()
    expect(page.locator(".waiting").first).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0
    held.pop().continue_()
    expect(page.locator(".card-name").first).to_have_text("Red dress")
