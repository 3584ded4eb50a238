"""Write what the documentation takes from the running code.

python docs/generate.py                             docs/settings.md, the tables of docs/capacity.md
python docs/generate.py --picture STREET.jpg [--api URL] [--dagster URL]        also docs/images/ of a demo
"""

import argparse
import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from imgsearch_assets.settings import PipelineSettings
from serving.settings import Settings

DOCS = Path(__file__).parent
SETTINGS_PAGE = DOCS / "settings.md"
CAPACITY_PAGE = DOCS / "capacity.md"
IMAGES = DOCS / "images"
# In docs/capacity.md what is between is the program's.
_BEGIN, _END = "<!-- python -m benchmarks.capacity -->\n", "<!-- end -->\n"


def _row(prefix: str, name: str, field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    shown = sorted(default) if isinstance(default, frozenset) else default
    return f"| `{prefix}{name.upper()}` | `{shown}` | {field.description or ''} |"


def _table(title: str, settings: type[BaseSettings]) -> str:
    prefix = settings.model_config.get("env_prefix", "")
    rows = [_row(prefix, name, field) for name, field in settings.model_fields.items()]
    return "\n".join([f"## {title}", "", "| Variable | Default | Meaning |", "|---|---|---|", *rows, ""])


def settings_page() -> str:
    """docs/settings.md as text."""
    head = "# Settings\n\nRead once a process from the environment. `make docs` writes this page.\n"
    return "\n".join([head, _table("Serving", Settings), _table("Pipeline", PipelineSettings)])


def capacity_page() -> str:
    """docs/capacity.md as text, its tables by what was measured last."""
    sys.path.insert(0, str(DOCS.parent))  # benchmarks are of a checkout, not of the installed package
    from benchmarks import _measured
    from benchmarks.capacity import page

    before, rest = CAPACITY_PAGE.read_text().split(_BEGIN)
    return before + _BEGIN + page(_measured.read()) + _END + rest.split(_END)[1]


def _keep(shown: Page | Locator, name: str) -> None:
    """A picture in 256 colours is a third of the bytes and looks the same."""
    picture = Image.open(io.BytesIO(shown.screenshot())).convert("RGB")
    picture.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(IMAGES / f"{name}.png", optimize=True)


def _found(page: Page, api: str, picture: Path) -> None:
    page.goto(api)
    page.set_input_files("#file", picture)
    page.locator(".card-button").nth(7).wait_for()
    page.wait_for_load_state("networkidle")


def _page(browser: Browser, api: str, picture: Path) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    _found(page, api, picture)
    _keep(page, "page")
    page.set_viewport_size({"width": 1000, "height": 1200})
    page.locator(".why").first.click()
    page.locator(".indexed img").first.wait_for()
    page.wait_for_load_state("networkidle")
    _keep(page.locator("#why"), "explain")
    page.close()
    phone = browser.new_page(
        viewport={"width": 360, "height": 740}, device_scale_factor=2, is_mobile=True, has_touch=True
    )
    _found(phone, api, picture)
    _keep(phone, "page-phone")
    phone.close()


def _dagster(page: Page, dagster: str) -> None:
    page.set_viewport_size({"width": 1900, "height": 640})
    page.goto(f"{dagster}/assets/staging_release?view=lineage&lineageScope=upstream&lineageDepth=10")
    page.get_by_text("product_snapshot").first.wait_for()
    page.wait_for_timeout(4000)  # the graph is laid out, then zoomed to fit
    _keep(page, "dagster")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{dagster}/assets/ann_index?view=overview")
    page.get_by_text("recall_at_10_vs_exact").first.wait_for()
    page.wait_for_timeout(2000)
    _keep(page, "ann-index")
    page.goto(f"{dagster}/assets/ann_index?view=checks")
    page.get_by_text("golden_queries").first.wait_for()
    page.wait_for_timeout(2000)
    _keep(page, "checks")
    page.set_viewport_size({"width": 1440, "height": 2000})  # a dialog that scrolls is cut
    for asset, picture in (("item_detections", "boxes"), ("ann_index", "neighbours")):
        page.goto(f"{dagster}/assets/{asset}?view=overview")
        page.locator("tr", has=page.get_by_text(picture, exact=True)).get_by_text("[Show Markdown]").click()
        page.get_by_role("dialog").locator("img").first.wait_for()
        page.wait_for_timeout(1000)
        _keep(page.get_by_role("dialog"), picture)


def _images(picture: Path, api: str, dagster: str) -> None:
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-background-networking"]
        )
        _page(browser, api, picture)
        _dagster(browser.new_page(), dagster)
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--api", default="http://127.0.0.1:8080")
    parser.add_argument("--dagster", default="http://127.0.0.1:3000")
    asked = parser.parse_args()
    SETTINGS_PAGE.write_text(settings_page())
    CAPACITY_PAGE.write_text(capacity_page())
    if asked.picture is not None:
        _images(asked.picture, asked.api, asked.dagster)
