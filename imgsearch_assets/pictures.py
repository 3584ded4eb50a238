"""Pictures that say at a glance what a step made, for the metadata of its materialization."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from serving.images.box import Box
from serving.models.detection import Detection

TILE = 128  # pixels a side
_GAP = 4
_PAPER = (250, 250, 249)
_MAIN, _OTHER, _NEW = (214, 40, 57), (69, 104, 220), (46, 168, 98)
_LABEL = (60, 60, 60)

Picture = NDArray[np.uint8]


def contact_sheet(pictures: Sequence[Picture], columns: int = 8) -> bytes:
    """A JPEG of ``pictures`` (uint8 (h, w, 3) each) in rows of ``columns``; of nothing, an empty sheet."""
    return _jpeg(_grid([_tile(picture) for picture in pictures], columns))


def boxes_drawn(found: Sequence[tuple[Picture, Sequence[Detection]]], columns: int = 6) -> bytes:
    """A JPEG of pictures with the items found on them: the main one red and named, the others blue."""
    return _jpeg(_grid([_marked(picture, items) for picture, items in found], columns))


def neighbours(rows: Sequence[tuple[Picture, Box, Sequence[Picture]]], labels: Sequence[str] = ()) -> bytes:
    """A JPEG with a row a query: the query with its box, then what is most like it, the nearest first.

    ``labels`` are written on the queries, one for each row, where there are any.
    """
    width = 1 + max((len(answers) for _, _, answers in rows), default=0)
    tiles: list[Image.Image] = []
    for number, (query, box, answers) in enumerate(rows):
        row = [_marked(query, [Detection(box, "", 1.0)]), *map(_tile, answers)]
        if labels:
            _label(row[0], labels[number])
        tiles += row + [_blank() for _ in range(width - len(row))]
    return _jpeg(_grid(tiles, width))


def before_and_after(
    rows: Sequence[tuple[Picture, Box, Sequence[Picture], Sequence[tuple[Picture, bool]]]],
) -> bytes:
    """A JPEG with two rows a query: its neighbours before, and those of now, green where they came in."""
    width = 1 + max((len(answers) for _, _, *both in rows for answers in both), default=0)
    tiles: list[Image.Image] = []
    for query, box, before, after in rows:
        first = [_marked(query, [Detection(box, "", 1.0)]), *map(_tile, before)]
        second = [_blank(), *(_framed(picture) if new else _tile(picture) for picture, new in after)]
        for said, row in (("before", first), ("now", second)):
            row += [_blank() for _ in range(width - len(row))]
            for tile in row[1:2]:
                _say(ImageDraw.Draw(tile), (6, 5), said, _LABEL)
            tiles += row
    return _jpeg(_grid(tiles, width))


def _blank() -> Image.Image:
    return Image.new("RGB", (TILE, TILE), _PAPER)


def _fitted(picture: Picture) -> tuple[Image.Image, tuple[int, int]]:
    """The picture within a tile, and where on the tile it goes."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.thumbnail((TILE, TILE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return image, ((TILE - image.width) // 2, (TILE - image.height) // 2)


def _tile(picture: Picture) -> Image.Image:
    tile = _blank()
    tile.paste(*_fitted(picture))
    return tile


def _framed(picture: Picture) -> Image.Image:
    tile = _tile(picture)
    ImageDraw.Draw(tile).rectangle((0, 0, TILE - 1, TILE - 1), outline=_NEW, width=3)
    return tile


def _say(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, colour: tuple[int, int, int]) -> None:
    font = ImageFont.load_default(10)
    x0, y0, x1, y1 = draw.textbbox(at, text, font=font)
    draw.rectangle((x0 - 3, y0 - 2, x1 + 3, y1 + 2), fill=colour)
    draw.text(at, text, fill="white", font=font)


def _marked(picture: Picture, items: Sequence[Detection]) -> Image.Image:
    image, at = _fitted(picture)
    draw = ImageDraw.Draw(image)
    # The main item last, so that no other's frame covers its own.
    for number, item in reversed(list(enumerate(items))):
        box, colour = item.box, _OTHER if number else _MAIN
        corners = (
            box.x0 * (image.width - 1),
            box.y0 * (image.height - 1),
            box.x1 * (image.width - 1),
            box.y1 * (image.height - 1),
        )
        draw.rectangle(corners, outline=colour, width=1 if number else 2)
        if item.category and not number:
            _say(draw, (corners[0] + 5, corners[1] + 4), f"{item.category} {item.score:.2f}", colour)
    tile = _blank()
    tile.paste(image, at)
    return tile


def _label(tile: Image.Image, text: str) -> None:
    """Along the lower edge, cut where the tile ends."""
    draw = ImageDraw.Draw(tile)
    draw.rectangle((0, TILE - 15, TILE, TILE), fill=_PAPER)
    draw.text((3, TILE - 13), text, fill=_MAIN, font=ImageFont.load_default(10))


def _grid(tiles: Sequence[Image.Image], columns: int) -> Image.Image:
    columns = max(1, min(columns, len(tiles)))
    rows = max(1, -(-len(tiles) // columns))
    step = TILE + _GAP
    sheet = Image.new("RGB", (columns * step + _GAP, rows * step + _GAP), _PAPER)
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (_GAP + number % columns * step, _GAP + number // columns * step))
    return sheet


def _jpeg(image: Image.Image) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=85)
    return sink.getvalue()
