"""Products that a page need not show side by side: those of one picture, and one design in its colours.

Pictures are compared as wholes, by the index's own vectors. Measured with the shipped embedder on 600 drawn
packshots and 1,536 photos, made smaller and compressed again (70 % of the side, quality 60) against the
nearest other product: at 0.96 the same picture is found in 89 % (drawn) and 95 % (photos), and no two
products of the 1.4 million pairs are taken for one (the most alike have 0.957); at 0.95 it is 94 % and 97 %,
and one pair. The boxes of items tell worse: a detector draws them a little differently each time. A crop of
70 % of the area is not the same picture: it is less alike than two products may be. Colour is much of what an
embedder sees, so a variant needs the catalogue's word first.

A group is made round its first product by id, which every member is compared with itself, so likeness is not
passed on from member to member, and the group keeps its name from day to day.
"""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from serving.images.box import Box
from serving.index.generation import GROUPS

# Up to so many pictures all pairs are compared: half a minute on one busy core.
EXACT_PICTURES = 30_000
# Nearest pictures kept for each; of one with more, all are looked up when they are asked for.
NEIGHBOURS = 64
_BLOCK = 512
# A picture of more products than this says nothing of them, but where it is their first: a table of sizes.
COMMON = 1_000
# Nor does a name.
GENERIC = 1_000

_WORDS = re.compile(r"\w+")
_COLOURS = frozenset(
    _WORDS.findall("""
    amber anthracite apricot aqua azure beige black blue bordeaux bronze brown burgundy camel chalk
    champagne charcoal chestnut chocolate cobalt copper coral cream crimson cyan denim ecru emerald
    forest fuchsia gold golden gray green grey indigo ivory jade khaki lavender lemon lilac lime magenta
    maroon mauve mint mustard navy nude oatmeal ochre olive orange peach petrol pink plum purple red
    rose rust sage salmon sand scarlet silver sky slate tan tangerine taupe teal terracotta turquoise
    violet white wine yellow
""")
)
# What stands before a colour.
_SHADES = frozenset(("in", "dark", "light", "pale", "bright", "deep", "off"))


@dataclass(frozen=True)
class Alike:
    """The least cosine of two pictures: to be the same one, and to be of one design in two colours."""

    picture: float = 0.96
    variant: float = 0.85


@dataclass(frozen=True, slots=True)
class Grouped:
    """``products`` with the columns ``generation.GROUPS``, and what it took."""

    products: pa.Table
    seconds: float


@dataclass(frozen=True, eq=False)
class _Pictures:
    """Distinct pictures, ``vectors`` float32 (n, d) of them; ``of`` a product's, its first one first."""

    vectors: NDArray[np.float32]
    of: list[list[int]]
    products: list[list[int]]


def with_groups(products: pa.Table, items: pa.Table, vectors: NDArray[np.float32], alike: Alike) -> Grouped:
    """``products`` (``PRODUCTS``) with their groups, by ``items`` (``ITEMS``) and their unit rows (n, d).

    Two products have the same picture when their first pictures are the same, or more than half of the
    pictures of each. They are variants when brand, category and the name without its
    colour are the same and some pictures of theirs are at least ``alike.variant``; products of one picture
    are always variants. A product without an item is a group of its own.
    """
    started = time.monotonic()
    known = products.select(["product_id", "name", "brand", "category", "colour", "image_urls"])
    rows = known.sort_by("product_id").to_pylist()
    pictures = _pictures(rows, items, vectors)
    picture = _picture_groups(pictures, alike.picture)
    variant = _variant_groups(rows, pictures, picture, alike.variant)
    ids = [row["product_id"] for row in rows]
    groups = {ids[place]: (ids[picture[place]], ids[variant[place]]) for place in range(len(ids))}
    own = [groups[str(name)] for name in products["product_id"].to_pylist()]
    for at, name in enumerate(GROUPS.names):
        products = products.append_column(name, pa.array([names[at] for names in own], pa.string()))
    return Grouped(products, time.monotonic() - started)


def design_name(name: str, colour: str) -> str:
    """A product's name without its colour: ``Linen shirt in dark navy`` -> ``linen shirt``."""
    own = set(_WORDS.findall(colour.casefold()))
    words = _WORDS.findall(name.casefold())
    return " ".join(word for word in words if word not in own | _COLOURS | _SHADES)


def near_pairs(xb: NDArray[np.float32], cosine: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Pairs of unit rows of ``xb`` float32 (n, d) at least so alike: int64 (pairs, 2), the smaller first.

    All are compared up to ``EXACT_PICTURES`` rows, else those that share cells of an inverted file, which is
    trained from a fixed seed and so is the same each time. A row keeps its ``NEIGHBOURS`` nearest; the second
    value, bool (n,), says which had more.
    """
    n = len(xb)
    if n <= EXACT_PICTURES:
        degree = np.zeros(n, np.int64)
        pairs = [_block(xb, start, cosine, degree) for start in range(0, n, _BLOCK)]
        return np.concatenate([np.empty((0, 2), np.int64), *pairs]), degree > NEIGHBOURS
    index = faiss.index_factory(xb.shape[1], f"IVF{int(4 * n**0.5)},SQfp16", faiss.METRIC_INNER_PRODUCT)
    index.train(xb)
    index.add(xb)
    index.nprobe = 8
    scores, found = index.search(xb, NEIGHBOURS + 2)  # itself, and one more than is kept
    near = (scores >= cosine) & (found >= 0)
    rows, columns = np.nonzero(near)
    both = np.sort(np.column_stack([rows, found[rows, columns]]), axis=1)
    return np.unique(both[both[:, 0] < both[:, 1]], axis=0).astype(np.int64), near.all(axis=1)


def _block(
    xb: NDArray[np.float32], start: int, cosine: float, degree: NDArray[np.int64]
) -> NDArray[np.int64]:
    """``near_pairs`` of the rows from ``start`` on, as many as a block, with themselves and later ones.

    ``degree`` int64 (n,) counts how many each row has.
    """
    scores = xb[start : start + _BLOCK] @ xb[start:].T
    near = np.triu(scores >= cosine, 1)
    degree[start : start + _BLOCK] += np.count_nonzero(near, axis=1)
    degree[start:] += np.count_nonzero(near, axis=0)
    for row in np.flatnonzero(np.count_nonzero(near, axis=1) > NEIGHBOURS):
        least = np.argsort(-np.where(near[row], scores[row], -2), kind="stable")[NEIGHBOURS:]
        near[row, least] = False
    return np.argwhere(near) + start


def _pictures(rows: Sequence[dict[str, object]], items: pa.Table, vectors: NDArray[np.float32]) -> _Pictures:
    """A vector a picture: that of the whole, or of the item that fills it."""
    whole = Box.whole().key
    names = items.select(["product_id", "image_url", "sha256", "box"]).to_pylist()
    numbers: dict[str, int] = {}
    row_of: list[int] = []
    urls: dict[str, dict[int, str]] = defaultdict(dict)
    for row in sorted(range(len(names)), key=lambda row: (names[row]["sha256"], names[row]["box"] != whole)):
        item = names[row]
        number = numbers.setdefault(item["sha256"], len(numbers))
        if number == len(row_of):
            row_of.append(row)
        urls[item["product_id"]].setdefault(number, item["image_url"])
    of: list[list[int]] = []
    products: list[list[int]] = [[] for _ in numbers]
    for place, product in enumerate(rows):
        order = {url: at for at, url in enumerate(_texts(product["image_urls"]))}
        own = urls.get(str(product["product_id"]), {})
        of.append(sorted(own, key=lambda number: (order.get(own[number], len(order)), number)))
        for number in own:
            products[number].append(place)
    return _Pictures(vectors[row_of], of, products)


def _texts(value: object) -> Iterable[str]:
    return value if isinstance(value, list) else ()


def _picture_groups(pictures: _Pictures, cosine: float) -> list[int]:
    """The group of every product, by the place of its first."""
    xb = pictures.vectors
    pairs, crowded = near_pairs(xb, cosine)
    same: dict[int, list[int]] = {}
    for one, other in pairs.tolist():
        same.setdefault(one, [one]).append(other)
        same.setdefault(other, [other]).append(one)

    hubs = np.flatnonzero(crowded)  # whose pairs are not all there, from neither end

    def like(number: int) -> list[int]:
        """A picture and all that are the same as it."""
        known = same.get(number, [number])
        if not len(hubs):
            return known
        among = np.arange(len(xb)) if crowded[number] else hubs
        more = among[xb[among] @ xb[number] >= cosine].tolist()
        return sorted({number, *known, *more})

    group = [-1] * len(pictures.of)
    for product, own in enumerate(pictures.of):
        if group[product] >= 0:
            continue
        group[product] = product
        alike = {number: like(number) for number in own}
        shared: Counter[int] = Counter()
        for number, matches in alike.items():
            rare = sum(len(pictures.products[match]) for match in matches) <= COMMON
            if rare or number == own[0]:
                others = {other for match in matches for other in pictures.products[match]}
                shared.update({other: int(rare) for other in others if group[other] < 0})
        for other, count in shared.items():
            theirs = pictures.of[other]
            if theirs[0] in alike[own[0]] or 2 * count > max(len(own), len(theirs)):
                group[other] = product
    return group


def _variant_groups(
    rows: Sequence[dict[str, object]], pictures: _Pictures, picture: Sequence[int], cosine: float
) -> list[int]:
    """The same, of designs: found among the first products of picture groups, whose members follow them."""
    named: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for place, product in enumerate(rows):
        name = design_name(str(product["name"]), str(product["colour"]))
        if picture[place] == place and name and pictures.of[place]:
            named[str(product["brand"]), str(product["category"]), name].append(place)
    group = list(range(len(rows)))
    for members in named.values():
        if 1 < len(members) <= GENERIC:
            _join(group, members, pictures, cosine)
    return [group[first] for first in picture]


def _join(group: list[int], members: Sequence[int], pictures: _Pictures, cosine: float) -> None:
    """Give products of one name the group of the first that they are like."""
    numbers = [number for member in members for number in pictures.of[member]]
    starts = np.cumsum([0, *(len(pictures.of[member]) for member in members[:-1])])
    xb = pictures.vectors[numbers]
    free = np.ones(len(members), bool)
    for place, member in enumerate(members):
        if not free[place]:
            continue
        xq = pictures.vectors[pictures.of[member]]
        like = np.maximum.reduceat((xb @ xq.T).max(axis=1), starts) >= cosine
        for other in np.flatnonzero(like & free):
            group[members[int(other)]] = member
        free &= ~like
        free[place] = False
