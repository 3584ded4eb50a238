"""The worst queries to look at: a page that needs nothing else, and a sheet for the pipeline's records."""

import base64
import io
from collections.abc import Iterable
from functools import lru_cache
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from imgsearch_assets.datasets.dataset import Labelled
from imgsearch_assets.evaluation.report import Report, Task
from imgsearch_assets.evaluation.retrieval import Retrieval
from imgsearch_assets.figures import shown, words
from imgsearch_assets.pictures import neighbours
from serving.images.box import Box
from serving.images.decode import decode

WORST = 50
_ANSWERS, _RIGHT = 5, 3
_SIDE = 144  # pixels of a thumbnail; shown at half of it and more, so that phones have it sharp
_QUALITY = 72
_SEARCHED, _MEANT = (214, 40, 57), (46, 168, 98)
_SUMMARY = ("queries", "recall_at_1", "recall_at_10", "recall_at_20", "map_at_10", "category_precision_at_5")
# Boxes to draw, each in its colour.
Marks = tuple[tuple[Box, tuple[int, int, int]], ...]

_TITLES: dict[Task, str] = {
    "street_to_shop": "Street to shop",
    "self": "Itself, taken again",
    "in_shop": "In shop",
}


def page(report: Report, worst: int = WORST) -> str:
    """HTML: a summary, then the ``worst`` queries with the right product and what was answered instead."""
    late = report.worst(worst)
    cards = "\n".join(_card(report, task, number, place) for place, (task, number) in enumerate(late, 1))
    asked = sum(len(found.queries) for found in report.retrieval.values())
    products = any(found.knows_products for found in report.retrieval.values())
    late_in = "whose product came latest" if products else "with the fewest answers of their category"
    of = f"the {'query' if len(late) == 1 else f'{len(late)} queries'} {late_in}, of {asked:,}"
    legend = "On the picture asked with, red is the box searched with, green the item that was meant."
    heading = of if late else f"every one of {asked:,} queries was answered rightly"
    return _PAGE.format(
        style=_STYLE,
        dataset=escape(report.dataset),
        models=escape(
            f"embedder {report.embedder}, detector {report.detector or 'none'}, boxes {report.boxes}"
        ),
        tables="\n".join(
            [*(_table(task, found) for task, found in report.retrieval.items()), _boxes(report)]
        ),
        heading=heading[0].upper() + heading[1:],
        legend=legend if late else "",
        cards=cards,
        foot=escape(f"data set version {report.dataset_version}; measured in {report.seconds:.0f} s"),
    )


def worst_sheet(report: Report, rows: int = 12) -> bytes:
    """A JPEG with a row for each of the worst queries: the query, its right product, its first answers."""
    sheet = []
    for task, number in report.worst(rows):
        found = report.retrieval[task]
        query = found.queries[number]
        shown_pictures = [*_right(found, query)[:1], *(one for one, _ in _answers(found, number))]
        pictures = [_opened(one.path) for one in shown_pictures]
        sheet.append((_opened(query.path), report.query_boxes[query.path], pictures))
    return neighbours(sheet)


def _answers(found: Retrieval, number: int) -> list[tuple[Labelled, float]]:
    """The first answers to a query and their scores."""
    pairs = zip(found.answers[number, :_ANSWERS], found.scores[number, :_ANSWERS], strict=True)
    return [(found.gallery[answer], float(score)) for answer, score in pairs if answer >= 0]


def _right(found: Retrieval, query: Labelled) -> list[Labelled]:
    """The gallery's pictures of the query's product."""
    return [one for one in found.gallery if one.path != query.path and _same_product(one, query)]


def _same_product(one: Labelled, query: Labelled) -> bool:
    return bool(query.product) and one.product == query.product


def _card(report: Report, task: Task, number: int, place: int) -> str:
    found = report.retrieval[task]
    query, rank = found.queries[number], int(found.ranks[number])
    right = _right(found, query)[:_RIGHT]
    if found.knows_products:
        came = f"came {_ordinal(rank)} with {found.right_scores[number]:.3f}"
        hit = _same_product
    else:
        came = f"{found.kin[number, 4]:.0%} of the first 5 are of its category"
        hit = _same_category
    answers = [
        _figure(one, f"{value:.3f}", "hit" if hit(one, query) else "", f"answer {i}")
        for i, (one, value) in enumerate(_answers(found, number), 1)
    ]
    return (
        f'<article><h3><span class="rank">{place}</span> {escape(_name(query))} '
        f"<small>{escape(query.category)} · {_TITLES[task].lower()} · {came}"
        "</small></h3>"
        '<div class="row">'
        f"{_group('asked with', [_figure(query, '', 'query', 'query', _marks(report, query))])}"
        f"{_group('right', [_figure(one, '', 'hit', 'right') for one in right]) if right else ''}"
        f"{_group('answered', answers)}"
        "</div></article>"
    )


def _group(name: str, figures: Iterable[str]) -> str:
    return f'<section><h4>{name}</h4><div class="pictures">{"".join(figures)}</div></section>'


def _figure(one: Labelled, score: str, style: str, alt: str, marks: Marks = ()) -> str:
    said = f"<b>{score}</b> " if score else ""
    return (
        f'<figure class="{style}"><img loading="lazy" alt="{escape(alt)}: {escape(one.path.name)}" '
        f'src="data:image/jpeg;base64,{_thumbnail(one.path, marks)}">'
        f"<figcaption>{said}{escape(_name(one))}<br>{escape(one.category)}"
        "</figcaption></figure>"
    )


def _table(task: Task, found: Retrieval) -> str:
    head = "".join(f"<th>{words(name)}" for name in _SUMMARY)
    rows = "".join(
        f"<tr><th>{escape(name)}" + "".join(f"<td>{shown(one, figures.get(one))}" for one in _SUMMARY)
        for name, figures in [("all", found.figures), *found.by_category.items()]
    )
    return f'<h2>{_TITLES[task]}</h2><div class="wide"><table><tr><th>{head}{rows}</table></div>'


def _boxes(report: Report) -> str:
    if not report.detection:
        return ""
    head = "".join(f"<th>{words(name)}" for name in report.detection)
    row = "".join(f"<td>{shown(name, value)}" for name, value in report.detection.items())
    return f'<h2>Detector</h2><div class="wide"><table><tr>{head}<tr>{row}</table></div>'


def _same_category(one: Labelled, query: Labelled) -> bool:
    return one.category == query.category


def _name(one: Labelled) -> str:
    return one.product or one.path.stem[:12]


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def _opened(path: Path) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return decode(path.read_bytes(), at_least=2 * _SIDE)


def _marks(report: Report, query: Labelled) -> Marks:
    searched = report.query_boxes[query.path]
    return tuple(
        (box, colour) for box, colour in ((query.box, _MEANT), (searched, _SEARCHED)) if box != Box.whole()
    )


@lru_cache(maxsize=512)  # a product that is often a wrong answer is often shown
def _thumbnail(path: Path, marks: Marks) -> str:
    """The picture, at most ``_SIDE`` pixels a side, with boxes drawn, as base64 of a JPEG."""
    image = Image.fromarray(_opened(path))
    # What is asked with is shown larger.
    side = 2 * _SIDE if marks else _SIDE
    image.thumbnail((side, side), Image.Resampling.BILINEAR)
    wide, tall = image.width - 1, image.height - 1
    for box, colour in marks:
        corners = (box.x0 * wide, box.y0 * tall, box.x1 * wide, box.y1 * tall)
        draw = ImageDraw.Draw(image)
        draw.rectangle(corners, outline="white", width=5)  # so that red shows on red
        draw.rectangle(corners, outline=colour, width=3)
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=_QUALITY)
    return base64.b64encode(sink.getvalue()).decode()


_STYLE = """
:root { color-scheme: light dark; --ink: #1c1b19; --soft: #6d6a64; --line: #e3e0da; --paper: #faf9f7;
  --card: #fff; --good: #1e7f4f; --mark: #d62839; }
@media (prefers-color-scheme: dark) { :root { --ink: #eceae6; --soft: #a29e96; --line: #35332f;
  --paper: #171614; --card: #211f1d; --good: #4cc38a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.25rem 1rem 3rem; background: var(--paper);
  color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 1.6rem 0 .5rem; }
p { margin: .2rem 0; color: var(--soft); overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; background: var(--card); }
th, td { padding: .3rem .7rem; border: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { font-weight: 600; } tr > th:first-child { text-align: left; }
tr:nth-child(2) { font-weight: 600; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1rem;
  margin: .8rem 0; }
h3 { margin: 0 0 .5rem; font-size: 1rem; } h3 small { color: var(--soft); font-weight: 400; }
.rank { display: inline-block; min-width: 1.6rem; color: var(--soft); font-weight: 400; }
.row { display: flex; flex-wrap: wrap; gap: .6rem 1.4rem; }
h4 { margin: 0 0 .25rem; font-size: .75rem; font-weight: 600; color: var(--soft); text-transform: uppercase;
  letter-spacing: .04em; }
.pictures { display: flex; flex-wrap: wrap; gap: .5rem; }
figure { margin: 0; width: 6.1rem; font-size: .75rem; line-height: 1.3; color: var(--soft);
  overflow-wrap: anywhere; }
figure b { color: var(--ink); font-variant-numeric: tabular-nums; }
img { display: block; width: 100%; height: 6.9rem; object-fit: contain; background: var(--paper);
  border: 1px solid var(--line); border-radius: 6px; margin-bottom: .2rem; }
.query { width: 8.6rem; } .query img { height: 8.6rem; }
.hit img { border-color: var(--good); border-width: 2px; }
@media (max-width: 40rem) {
  article { padding: .7rem; } .row { display: grid; grid-template-columns: repeat(5, 1fr); gap: .6rem .5rem; }
  section { grid-column: span 5; } section:first-child { grid-column: span 2; }
  section:nth-child(2):not(:last-child) { grid-column: span 3; }
  .pictures { display: grid; grid-template-columns: repeat(5, 1fr); gap: .4rem; }
  section:first-child .pictures { grid-template-columns: 1fr; }
  section:nth-child(2):not(:last-child) .pictures { grid-template-columns: repeat(3, 1fr); }
  figure, .query { width: auto; } img { height: 4.6rem; } .query img { height: 7.4rem; }
  figure { font-size: .68rem; }
}
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Worst queries: {dataset}</title><style>{style}</style></head><body>
<h1>{dataset}</h1>
<p>{models}</p>
{tables}
<p>Recall@k: how often the right product is among the first k products. mAP@10 looks at single pictures: 1
when all that show the product come before all others. Category precision@5: how many of the first 5 other
products are of the query's category.</p>
<h2>{heading}</h2>
<p>{legend}</p>
{cards}
<p>{foot}</p>
</body></html>
"""
