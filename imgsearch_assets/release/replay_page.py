"""What changes most between two generations, to look at: a page that needs nothing else, a small sheet."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import escape

import numpy as np
from PIL import Image

from imgsearch_assets.images.store import picture_key
from imgsearch_assets.pictures import Picture, neighbours
from imgsearch_assets.release.replay import Comparison, Replayed, Shown
from serving.errors import BadImage, NotFound
from serving.images.box import Box
from serving.images.decode import decode
from serving.index.loaded import Generation
from serving.index.replays import MAX_BYTES
from serving.object_store import ObjectStore

_WORST, _ON_SHEET = 24, 3
_SIDE = 112  # pixels of a thumbnail, shown at most so large
_NAMED = 20  # products that came or went


class Album:
    """Pictures of products of two generations; of one that is not in the store, a grey one."""

    def __init__(self, store: ObjectStore, before: Generation, after: Generation) -> None:
        self._store = store
        self.before, self.after = before, after
        self.jpeg = cache(self._jpeg)  # a product is in many answers

    def picture(self, generation: Generation, place: int) -> Picture:
        return self._open(self._sha(generation, place))

    def _sha(self, generation: Generation, place: int) -> str:
        return str(generation.items["sha256"][generation.first_row(place)])

    def _open(self, sha: str) -> Picture:
        try:
            return decode(self._store.get(picture_key(sha)), at_least=_SIDE)
        except (NotFound, BadImage):
            return np.full((_SIDE, _SIDE, 3), 128, np.uint8)

    def _jpeg(self, generation: Generation, place: int) -> str:
        """At most ``_SIDE`` pixels a side, as base64 of a JPEG."""
        image = Image.fromarray(self.picture(generation, place))
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.BILINEAR)
        sink = io.BytesIO()
        image.save(sink, "JPEG", quality=72)
        return base64.b64encode(sink.getvalue()).decode()


def page(comparison: Comparison, album: Album) -> bytes:
    """HTML of at most ``MAX_BYTES``: figures, then the queries that changed most, before beside after."""
    names = album.before.manifest.id, album.after.manifest.id
    figures = (
        f"{len(comparison.queries)} queries, {comparison.changed} with another answer; "
        f"overlap@10 {comparison.overlap:.3f}, rank-biased overlap {comparison.rbo:.3f}"
    )
    title = f"Generation {names[0]} to {names[1]}"
    head = _HEAD.format(title=escape(title), figures=escape(figures), apart=_apart(comparison), style=_STYLE)
    parts, left = [head.encode()], MAX_BYTES - len(head.encode()) - len(_FOOT)
    for card in _cards(comparison, album):
        left -= len(card)
        if left < 0:
            break
        parts.append(card)
    return b"".join([*parts, _FOOT])


def sheet(comparison: Comparison, album: Album) -> bytes | None:
    """A JPEG with two rows a query that changed much, as it was and as it will be, each with a label.

    None without any.
    """
    rows, labels = [], list[str]()
    for query in comparison.worst(_ON_SHEET):
        answers = ("before", album.before, query.before), ("after", album.after, query.after)
        for when, generation, shown in answers:
            labels.append(f"{when}: {query.product_id}")
            asked = album.picture(generation, _place(generation, query))
            rows.append((asked, Box.whole(), [album.picture(generation, one.place) for one in shown[:6]]))
    return neighbours(rows, labels) if rows else None


def _cards(comparison: Comparison, album: Album) -> Iterator[bytes]:
    gone, new = set(comparison.gone), set(comparison.new)
    for query in comparison.worst(_WORST):
        before, after = ({one.product_id for one in shown} for shown in (query.before, query.after))
        left = {one: "gone" if one in gone else "out" for one in before - after}
        come = {one: "new" if one in new else "in" for one in after - before}
        name = escape(query.product_id)
        asked = _figure(
            album, album.after, Shown(query.product_id, _place(album.after, query), 1.0), "", name
        )
        rows = _row("before", album, album.before, query.before, left)
        rows += _row("after", album, album.after, query.after, come)
        yield (
            f'<article><section class="asked"><h2>{name}</h2>{asked}<p>overlap {query.overlap:.2f}, '
            f"rank-biased {query.rbo:.2f}</p></section><section>{rows}</section></article>\n"
        ).encode()


def _row(
    said: str, album: Album, generation: Generation, answer: Sequence[Shown], marks: Mapping[str, str]
) -> str:
    figures = "".join(_figure(album, generation, one, marks.get(one.product_id, "")) for one in answer)
    return f"<h3>{said}</h3><div>{figures}</div>"


def _figure(album: Album, generation: Generation, shown: Shown, mark: str, caption: str | None = None) -> str:
    name = escape(shown.product_id)
    said = caption or f"{f'<b>{mark}</b> ' if mark else ''}{shown.score:.3f}<br>{name}"
    jpeg = album.jpeg(generation, shown.place)
    return (
        f'<figure class="{mark}"><img alt="{name}" loading="lazy" src="data:image/jpeg;base64,{jpeg}">'
        f"<figcaption>{said}</figcaption></figure>"
    )


def _apart(comparison: Comparison) -> str:
    said = []
    for word, names in (("gone", comparison.gone), ("new", comparison.new)):
        if names:
            more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
            said.append(f"{len(names):,} {word}: {escape(', '.join(names[:_NAMED]))}{more}")
    return f"<p>Products apart from that. {'. '.join(said)}.</p>" if said else ""


def _place(generation: Generation, query: Replayed) -> int:
    place = generation.place(query.product_id)
    if place is None:
        raise NotFound(f"product {query.product_id} is not in generation {generation.manifest.id}")
    return place


_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bad: #d62839; --good: #2ea862; }
body { margin: 0 auto; max-width: 84rem; padding: 1rem; font: 15px/1.4 system-ui, sans-serif; }
h1 { font-size: 1.3rem; } h2, h3 { font-size: .85rem; margin: .2rem 0; } p { overflow-wrap: anywhere; }
article { display: flex; flex-wrap: wrap; gap: 1rem; border-top: 1px solid var(--line); padding: .8rem 0; }
.asked { width: 9rem; } div { display: flex; flex-wrap: wrap; gap: .4rem; }
figure { margin: 0; width: 6.4rem; font-size: .7rem; overflow-wrap: anywhere; }
img { display: block; width: 100%; height: 7rem; object-fit: contain; border: 2px solid var(--line); }
.out img, .gone img { border-color: var(--bad); } .in img, .new img { border-color: var(--good); }
"""

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Replay: {title}</title><style>{style}</style></head><body>
<h1>{title}</h1>
<p>{figures}.</p>
{apart}
<p>The queries that changed most. Red: left the answer (gone: the shop as well). Green: came in (new: to the
shop as well).</p>
"""
_FOOT = b"</body></html>\n"
