"""Good pictures, changed at random where it hurts: bytes, chunks, their order and number."""

import re
import struct
import time
import zlib
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from serving.errors import BadImage
from serving.images.decode import decode, inspect, verify
from serving.images.scans import scans
from tests.fuzz.corpus import canvas, encoded, garment, webp_of

CPU_S = 4.0  # of a second that is promised; the machine may be busy
_EXIF = Image.Exif()
_EXIF[0x0112] = 6

JPEGS = [
    encoded(garment(), "JPEG", exif=_EXIF),
    encoded(garment(), "JPEG", progressive=True, icc_profile=b"x" * 300),
    encoded(garment().convert("CMYK"), "JPEG"),
    encoded(garment(), "MPO", save_all=True, append_images=[garment(40, 30)]),
]
PNGS = [
    encoded(garment(), "PNG", exif=_EXIF),
    encoded(garment().quantize(8), "PNG", transparency=3),
    encoded(garment().convert("I;16"), "PNG"),
]
WEBPS = [
    encoded(garment(), "WEBP", exif=_EXIF),
    encoded(garment(), "WEBP", lossless=True),
    webp_of(canvas(160, 120) + encoded(garment(), "WEBP")[12:]),
]


def jpeg_pieces(data: bytes) -> list[bytes]:
    """Cut before every marker."""
    return [piece for piece in re.split(rb"(?=\xff[\xc0-\xcf\xd8-\xfe])", data) if piece]


def png_pieces(data: bytes) -> list[bytes]:
    pieces, at = [data[:8]], 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        pieces.append(data[at:end])
        at = end
    return pieces


def webp_pieces(data: bytes) -> list[bytes]:
    pieces, at = [data[:12]], 12
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        pieces.append(data[at:end])
        at = end
    return pieces


def reason(look: Callable[[bytes], object], data: bytes) -> str | None:
    try:
        look(data)
    except BadImage as refused:
        return refused.reason
    return None


def looked_at(data: bytes) -> None:
    """By all who look: pixels and one size, or one ``BadImage``."""
    start = time.process_time()
    refused = reason(decode, data)
    assert reason(verify, data) == reason(partial(decode, at_least=32), data) == refused
    if refused is None:
        pixels, header, seen = decode(data), verify(data), inspect(data)
        assert pixels.shape == (header.height, header.width, 3)
        # A PNG may say behind its pixels how it is turned.
        assert {seen.width, seen.height} == {header.width, header.height}
    assert time.process_time() - start < CPU_S


Cut = tuple[list[bytes], Callable[[bytes], list[bytes]]]
CUTS: list[Cut] = [(JPEGS, jpeg_pieces), (PNGS, png_pieces), (WEBPS, webp_pieces)]
KINDS = pytest.mark.parametrize(("seeds", "cut"), CUTS, ids=["jpeg", "png", "webp"])
PATIENT = settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@KINDS
@PATIENT
@given(st.data())
def test_pieces_change_places_and_number(seeds: list[bytes], cut: Callable, data: st.DataObject) -> None:
    pieces = cut(data.draw(st.sampled_from(seeds)))
    other = cut(data.draw(st.sampled_from(seeds)))
    drawn = data.draw(st.lists(st.sampled_from(pieces + other), max_size=2 * len(pieces)))
    kept = data.draw(st.integers(0, len(pieces)))
    looked_at(b"".join(pieces[:kept] + drawn + pieces[kept:]))


@KINDS
@PATIENT
@given(st.data())
def test_bytes_are_put_in_and_left_out(seeds: list[bytes], cut: Callable, data: st.DataObject) -> None:
    mutated = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        out = data.draw(st.integers(0, 4))
        mutated[at : at + out] = data.draw(st.binary(max_size=4))
        if not mutated:
            return
    looked_at(bytes(mutated))


@PATIENT
@given(st.sampled_from(PNGS), st.data())
def test_a_png_lies_with_its_sums_right(seed: bytes, data: st.DataObject) -> None:
    """A wrong check sum is refused before the lie is read."""
    pieces = png_pieces(seed)
    place = data.draw(st.integers(1, len(pieces) - 1))
    kind, body = pieces[place][4:8], bytearray(pieces[place][8:-4])
    if kind == b"IHDR" and data.draw(st.booleans()):
        body[:8] = struct.pack(">II", *data.draw(st.tuples(*[st.integers(0, 2**31 - 1)] * 2)))
        body[8:] = data.draw(st.binary(min_size=5, max_size=5))
    elif body:
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    whole = kind + bytes(body)
    pieces[place] = struct.pack(">I", len(body)) + whole + struct.pack(">I", zlib.crc32(whole))
    looked_at(b"".join(pieces))


@PATIENT
@given(st.lists(st.sampled_from([*jpeg_pieces(JPEGS[1]), b"\xff", b"\0", b"\xff\xd9", b"\xff\xd0"])))
def test_scans_are_never_more_than_what_looks_like_one(pieces: list[bytes]) -> None:
    data = b"\xff\xd8" + b"".join(pieces)
    assert scans(data) <= data.count(b"\xff\xda")


def test_scans_as_encoders_write_them() -> None:
    plain, progressive = encoded(garment(), "JPEG"), encoded(garment(), "JPEG", progressive=True)
    assert (scans(plain), scans(progressive)) == (1, 10)
    assert scans(plain + progressive) == 1  # what comes behind the picture is not of it
    assert scans(progressive + b"\xff\xda" * 50) == 10
    assert scans(plain[:2] + b"\xff\xff" + plain[2:] + b"\xff\xda" * 50) == 1
    assert scans(encoded(garment().convert("L"), "JPEG", progressive=True)) == 6
