import io
from typing import Any

import numpy as np
from PIL import Image

from imgsearch_assets.pictures import TILE, before_and_after, boxes_drawn, contact_sheet, neighbours
from serving.images.box import Box
from serving.models.detection import Detection

BLACK = np.zeros((360, 240, 3), np.uint8)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    return image


def test_a_contact_sheet_has_a_tile_a_picture() -> None:
    image = opened(contact_sheet([BLACK] * 5, columns=3))
    assert image.width == 3 * TILE + 4 * 4
    assert image.height == 2 * TILE + 3 * 4
    dark = np.asarray(image.convert("L")) < 60
    assert abs(dark.sum() - 5 * TILE * TILE * 2 / 3) < 600


def test_sheets_of_nothing_are_pictures_too() -> None:
    for data in (contact_sheet([]), boxes_drawn([]), neighbours([]), before_and_after([])):
        assert min(opened(data).size) > 0


def test_the_main_item_is_red_and_the_others_blue() -> None:
    items = [
        Detection(Box(0.3, 0.3, 0.9, 0.9), "hat", 0.9),
        Detection(Box(0.05, 0.05, 0.25, 0.25), "shoe", 0.5),
    ]
    pixels = np.asarray(opened(boxes_drawn([(np.full((128, 128, 3), 255, np.uint8), items)]))).astype(int)
    red = (pixels[..., 0] > 150) & (pixels[..., 1] < 120)
    blue = (pixels[..., 2] > 150) & (pixels[..., 0] < 140)
    assert red.sum() > blue.sum() > 20


def test_what_is_new_below_what_was_is_framed() -> None:
    white = np.full((TILE, TILE, 3), 255, np.uint8)
    row = (white, Box(0.4, 0.4, 0.6, 0.6), [BLACK], [(white, False), (white, True)])
    image = opened(before_and_after([row]))
    assert image.width == 3 * TILE + 4 * 4
    assert image.height == 2 * TILE + 3 * 4
    pixels = np.asarray(image).astype(int)
    red = (pixels[..., 0] > 150) & (pixels[..., 1] < 120)
    green = (pixels[..., 1] > 130) & (pixels[..., 0] < 120) & (pixels[..., 2] < 160)
    label = pixels.max(axis=2) < 120

    def in_tiles(mask: Any, row: int) -> list[int]:
        part = mask[4 + row * (TILE + 4) :][:TILE]
        return [int(part[:, 4 + n * (TILE + 4) :][:, :TILE].sum()) for n in range(3)]

    assert (np.array(in_tiles(red, 0)) > 0).tolist() == [True, False, False], "the query's box"
    assert in_tiles(red, 1) == [0, 0, 0]
    assert (np.array(in_tiles(green, 1)) > 0).tolist() == [False, False, True], "what came in"
    assert in_tiles(green, 0) == [0, 0, 0]
    assert (np.array(in_tiles(label, 1)) > 50).tolist() == [False, True, False], "now"


def test_neighbours_are_a_row_a_query() -> None:
    image = opened(neighbours([(BLACK, Box.whole(), [BLACK, BLACK]), (BLACK, Box.whole(), [])]))
    assert image.width == 3 * TILE + 4 * 4
    assert image.height == 2 * TILE + 3 * 4


def test_a_query_has_its_label() -> None:
    rows = [(BLACK, Box.whole(), [BLACK]), (BLACK, Box.whole(), [BLACK])]
    plain, labelled = (
        np.asarray(opened(neighbours(rows, said))) for said in ((), ("before: p1", "after: p1"))
    )
    below = [(4 + TILE * (row + 1) + 4 * row - 15, 4 + TILE * (row + 1) + 4 * row) for row in (0, 1)]
    for top, bottom in below:
        edge = (slice(top, bottom), slice(4, 4 + TILE))
        assert labelled[edge].mean() > plain[edge].mean() + 20
    assert np.array_equal(labelled[:, 4 + TILE + 4 :], plain[:, 4 + TILE + 4 :])
