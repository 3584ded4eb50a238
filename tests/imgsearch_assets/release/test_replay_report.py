"""The replay report as it is kept, and its page in a browser's eyes."""

import io
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgsearch_assets.images.store import picture_key
from imgsearch_assets.release import replay_page
from imgsearch_assets.release.publish import publish
from imgsearch_assets.release.replay_report import Report, compared_with, recorded_queries, replay, tidy
from imgsearch_assets.release.retention import prune
from serving.errors import BadSettings


class Page(HTMLParser):
    """What a page holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[str] = []
        self.alts: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"] or "")
            self.alts.append(dict(attrs)["alt"] or "")


def turned(shop) -> tuple[str, str]:
    """Two generations that have little in common."""
    before = shop.build("s1").id
    shop.vectors = np.roll(shop.vectors, 7, axis=0)
    return before, shop.build("s2").id


def test_a_report_is_made_once_and_stands_by_itself(shop) -> None:
    sha = shop.items["sha256"][0].as_py()
    sink = io.BytesIO()
    Image.new("RGB", (300, 200), (10, 200, 30)).save(sink, "JPEG")
    shop.store.put(picture_key(sha), sink.getvalue())
    report = replay(shop.store, *turned(shop))
    assert report is not None
    assert (report.queries, report.gone, report.new) == (60, 0, 0)
    assert report.overlap_at_10 < 0.8
    assert report.changed > 30
    text = shop.store.get(report.page_key).decode()
    page = Page(text)
    assert 24 * 15 < len(page.images) <= 24 * 21
    assert all(re.fullmatch(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", src) for src in page.images)
    assert not re.search(r"https?://|<script|url\(", text)
    assert f"overlap@10 {report.overlap_at_10:.3f}" in text
    sheet = report.sheet(shop.store)
    assert sheet is not None
    assert Image.open(io.BytesIO(sheet)).height > 6 * 128

    written = {key: shop.store.version(key) for key in shop.store.list("reports")}
    assert len(written) == 3
    assert replay(shop.store, report.before, report.after) == report
    assert {key: shop.store.version(key) for key in shop.store.list("reports")} == written
    shop.store.put(f"reports/replay/{report.after}/{report.before}.json", b"{}")
    assert replay(shop.store, report.before, report.after) == report, "of another version of the code"


def test_names_are_text_and_the_page_has_an_end(shop, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name: f"<script>{name}</script>&" for name in shop.ids}
    for table in ("products", "items"):
        held = getattr(shop, table)
        ids = [names[name] for name in held["product_id"].to_pylist()]
        setattr(shop, table, held.set_column(0, held.schema.field(0), [ids]))
    report = replay(shop.store, *turned(shop))
    assert report is not None
    html = shop.store.get(report.page_key).decode()
    page = Page(html)
    assert "script" not in page.tags
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in html
    assert "<script>p00000</script>&" in page.alts

    monkeypatch.setattr(replay_page, "MAX_BYTES", 200_000)
    shop.store.delete(f"reports/replay/{report.after}/{report.before}.json")
    assert replay(shop.store, report.before, report.after) == report
    data = shop.store.get(report.page_key)
    assert 100_000 < len(data) <= 200_000
    assert data.endswith(b"</article>\n</body></html>\n")


def test_where_nothing_changed_there_is_nothing_to_see(shop) -> None:
    first = shop.build("s1").id
    report = replay(shop.store, first, shop.build("s2").id)
    assert report is not None
    assert (report.changed, report.overlap_at_10, report.sheet(shop.store)) == (0, 1.0, None)
    assert Page(shop.store.get(report.page_key).decode()).images == []


def test_what_cannot_be_read_any_more_is_compared_with_nothing(shop) -> None:
    before, after = turned(shop)
    shop.store.put(f"generations/{before}/manifest.json", b"{}")
    assert replay(shop.store, before, after) is None
    assert replay(shop.store, "0123456789abcdef", after) is None


def test_production_is_compared_with_and_else_what_was_live_before(shop) -> None:
    assert compared_with(shop.store, "local") is None
    ids = [shop.build(name).id for name in ("s1", "s2")]
    publish(shop.store, "local", ids[0], "test", "test")
    assert compared_with(shop.store, "local") is None
    publish(shop.store, "local", ids[1], "test", "test")
    before = compared_with(shop.store, "local")
    assert before is not None
    assert before.generation == ids[0]
    publish(shop.store, "production", ids[1], "test", "test")
    shopped = compared_with(shop.store, "local")
    assert shopped is not None
    assert shopped.generation == ids[1]


def test_reports_go_with_their_generation(shop) -> None:
    ids = [shop.build(f"s{number}").id for number in range(3)]
    for before, after in pairwise(ids):
        assert replay(shop.store, before, after)
    publish(shop.store, "local", ids[2], "test", "test")
    prune(shop.store, 1)
    tidy(shop.store)
    assert Report.kept(shop.store, ids[0], ids[1]) is None
    assert Report.kept(shop.store, ids[1], ids[2]) is not None
    assert [key.split("/")[2] for key in shop.store.list("reports")] == [ids[2]] * 2


def test_recorded_queries_are_a_line_each(tmp_path: Path) -> None:
    path = tmp_path / "queries.txt"
    path.write_text("a\n\n b/c \n")
    assert recorded_queries(None) == []
    assert recorded_queries(path) == ["a", "b/c"]
    with pytest.raises(BadSettings, match=r"^IMGSEARCH_REPLAY_QUERIES: .*none.txt cannot be read: "):
        recorded_queries(tmp_path / "none.txt")
