import re
from dataclasses import replace
from html.parser import HTMLParser

from imgsearch_assets.evaluation.gallery import page, worst_sheet
from imgsearch_assets.evaluation.report import Report
from serving.images.decode import decode


class Sources(HTMLParser):
    """Every address a page asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href")]


def late_by_six(report: Report) -> Report:
    """The same queries, had every right product come seventh."""
    late = {task: replace(found, ranks=found.ranks * 0 + 7) for task, found in report.retrieval.items()}
    return replace(report, retrieval=late)


def test_a_page_that_needs_nothing_else(report: Report) -> None:
    report = late_by_six(report)
    html = page(report, 3)
    late = report.worst(3)
    assert html.count("<article>") == len(late) > 0
    sources = Sources()
    sources.feed(html)
    assert sources.found
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources.found)
    task, number = late[0]
    query = report.retrieval[task].queries[number]
    first = html.split("<article>")[1]
    assert query.product in first
    assert query.category in first
    assert len(re.findall(r"<figure", first)) == 1 + (3 if task == "street_to_shop" else 2) + 5
    assert "recall@1" in html
    assert "ap50" in html


def test_names_are_text_and_nothing_else(report: Report) -> None:
    assert "<script>" not in page(replace(report, dataset="<script>alert(1)</script>"), 1)


def test_a_sheet_of_the_worst(report: Report) -> None:
    report = late_by_six(report)
    sheet = decode(worst_sheet(report, 2))
    assert sheet.shape[0] == len(report.worst(2)) * 132 + 4
    # The query, one picture of the right product, five answers.
    assert sheet.shape[1] == 7 * 132 + 4


def test_nothing_to_show(report: Report) -> None:
    perfect = {task: replace(found, ranks=found.ranks * 0 + 1) for task, found in report.retrieval.items()}
    html = page(replace(report, retrieval=perfect, detection={}))
    assert "Every one of 32 queries was answered rightly" in html
    assert worst_sheet(replace(report, retrieval=perfect))


def test_without_products_it_is_about_categories(report: Report) -> None:
    found = report.retrieval["in_shop"]
    bare = tuple(replace(one, product="") for one in found.queries)
    nameless = replace(found, queries=bare, gallery=bare, ranks=found.ranks * 0)
    html = page(replace(report, retrieval={"in_shop": nameless}), 2)
    assert "The 2 queries with the fewest answers of their category, of 24" in html
    first = html.split("<article>")[1]
    assert "of the first 5 are of its category" in first
    assert "<h4>right</h4>" not in first
    assert len(re.findall(r"<figure", first)) == 1 + 5
