"""Pictures that somebody made to hurt, or that only look so; each made here, from the formats' own words.

PNG: https://www.w3.org/TR/png-3/; JPEG: ITU-T T.81; WebP: RFC 9649.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

DAMAGED = "truncated"


@dataclass(frozen=True)
class Case:
    """``wanted``: a reason of ``BadImage``; None where it is a picture; both where decoders may differ."""

    name: str
    data: bytes
    wanted: frozenset[str | None]


def chunk(kind: bytes, body: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = chunk(b"IEND", b"")


def header(width: int, height: int, depth: int = 8, colour: int = 2, interlaced: int = 0) -> bytes:
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))


_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def flat_png(
    width: int, height: int, depth: int = 8, colour: int = 2, interlaced: int = 0, between: bytes = b""
) -> bytes:
    """Zeros as far as the eye reaches, by the filter that takes longest to undo; a few kilobytes."""
    packer, rows = zlib.compressobj(9), []
    for left, top, across, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns = -(-(width - left) // across)
        row = b"\x04" + bytes((columns * depth * _CHANNELS[colour] + 7) // 8)
        rows += [packer.compress(row) for _ in range(-(-(height - top) // down))]
    body = b"".join([*rows, packer.flush()])
    return header(width, height, depth, colour, interlaced) + between + chunk(b"IDAT", body) + END


def segment(marker: int, body: bytes) -> bytes:
    """Of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def part(kind: bytes, body: bytes) -> bytes:
    """Of a WebP."""
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def webp_of(parts: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(parts) + 4) + b"WEBP" + parts


def canvas(width: int, height: int) -> bytes:
    side = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return part(b"VP8X", bytes(4) + side)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, format, **options)
    return sink.getvalue()


@cache
def garment(width: int = 160, height: int = 120) -> Image.Image:
    """A patch of colour on white."""
    picture = Image.new("RGB", (width, height), "white")
    picture.paste((180, 40, 60), (width // 4, height // 4, width * 3 // 4, height * 3 // 4))
    return picture


def resized(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header says another size than its pixels have."""
    at = next(at for at in range(len(jpeg)) if jpeg[at] == 0xFF and jpeg[at + 1] in (0xC0, 0xC2))
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


def before_scans(jpeg: bytes) -> bytes:
    return jpeg[: jpeg.index(b"\xff\xda")]


def after_start(jpeg: bytes, more: bytes) -> bytes:
    return jpeg[:2] + more + jpeg[2:]


def after_header(png: bytes, more: bytes) -> bytes:
    return png[:33] + more + png[33:]


def archive() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as packed:
        packed.writestr("index.html", "<script>alert(1)</script>" * 50)
    return sink.getvalue()


def many_tags(tags: int, size: int) -> bytes:
    """EXIF in which every tag points to the same ``size`` bytes."""
    entries = b"".join(struct.pack(">HHII", tag + 0x0200, 1, size, 8) for tag in range(tags))
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", tags) + entries + bytes(size)


Made = tuple[str, bytes, str | None]


def bombs() -> Iterator[Made]:
    few = zlib.compress(bytes(1000))
    yield "png of 144 Mpx", header(12_000, 12_000) + chunk(b"IDAT", few) + END, "too_many_pixels"
    yield "png of 10^18 px", header(2**30, 2**30) + END, "too_many_pixels"
    yield "png of 40 Mpx in 5 kB", flat_png(6320, 6320, 1, 0), "too_many_pixels"
    yield "png in 16 bits, interlaced", flat_png(4890, 4890, 16, 6, 1), None
    yield "png of grey, interlaced", flat_png(4890, 4890, 1, 0, 1), None
    yield "png palette, half seen through, tall", _tall_palette(), None
    yield "png wide with transparency", flat_png(50_000, 470, 8, 6), None
    yield "png wider than a jpeg", flat_png(70_000, 8, 8, 6), "too_many_pixels"
    # 34 bytes, which libwebp unpacks to 600 MB
    blank = encoded(Image.new("RGB", (6320, 6320)), "WEBP", lossless=True, method=0)
    yield "webp of 40 Mpx", blank, "too_many_pixels"
    twelve = Image.new("RGB", (3000, 4032), (90, 80, 70))
    yield "webp of 12 Mpx", encoded(twelve, "WEBP", method=0), None
    yield "webp, tall", encoded(Image.new("RGB", (740, 16_383)), "WEBP", lossless=True, method=0), None
    tall = Image.new("RGB", (610, 65_000), (90, 80, 70))
    turned = Image.Exif()
    turned[0x0112] = 6
    yield "jpeg, tall and turned", encoded(tall, "JPEG", exif=turned), None
    yield "jpeg, tall, progressive", encoded(tall, "JPEG", progressive=True), None
    vast = Image.new("RGB", (6320, 6320), (90, 80, 70))
    yield "jpeg of 40 Mpx", encoded(vast, "JPEG"), None
    yield "jpeg of 40 Mpx, progressive", encoded(vast, "JPEG", progressive=True), None
    fine = resized(encoded(garment(), "JPEG", progressive=True, subsampling=0), 6320, 6320)
    yield "jpeg of 40 Mpx, progressive, fine", fine, "too_many_pixels"
    ink = garment().convert("CMYK")
    yield "jpeg of 40 Mpx in CMYK", resized(encoded(ink, "JPEG"), 6320, 6320), "too_many_pixels"
    yield "jpeg, tall, in CMYK", encoded(Image.new("CMYK", (610, 56_000)), "JPEG"), None


def _tall_palette() -> bytes:
    colours = chunk(b"PLTE", bytes(768)) + chunk(b"tRNS", b"\x80" * 256)
    return flat_png(470, 50_000, 8, 3, between=colours)


def scans() -> Iterator[Made]:
    """Each scan goes over all pixels, and takes ten bytes."""
    progressive = encoded(Image.new("RGB", (1000, 1000)), "JPEG", progressive=True)
    last = progressive[progressive.rindex(b"\xff\xda") : -2]
    yield "jpeg of 100,000 scans", progressive[:-2] + last * 100_000 + b"\xff\xd9", "too_costly"
    noted = last + segment(0xFE, b"\xff\xd9")  # the end of a picture, but in a comment
    yield "jpeg of scans and comments", progressive[:-2] + noted * 30_000 + b"\xff\xd9", "too_costly"
    yield "jpeg of scans and rubbish", progressive[:-2] + (b"\0" + last) * 30_000, "too_costly"
    filled = progressive[:-2] + (b"\xff\xff\xff" + last) * 30_000
    yield "jpeg of scans and filling", filled, "too_costly"
    head = resized(before_scans(encoded(garment(), "JPEG")), 2000, 2000)
    empty = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    yield "jpeg of empty scans", head + empty * 3000 + b"\xff\xd9", "too_costly"
    # Ten scans are what encoders write.
    photo = Image.fromarray(
        np.tile(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), (47, 63, 1))
    )
    yield "jpeg of 12 Mpx, progressive", encoded(photo, "JPEG", progressive=True, quality=80), None


def pieces() -> Iterator[Made]:
    """Millions of nothing."""
    jpeg, png, webp = (encoded(garment(), format) for format in ("JPEG", "PNG", "WEBP"))
    yield "jpeg of comments", after_start(jpeg, segment(0xFE, b"") * 2_400_000), "too_costly"
    yield "jpeg of filling", after_start(jpeg, b"\xff" * 9_000_000), "too_costly"
    late = segment(0xE1, b"") + bytes(9_000_000)
    yield "jpeg of rubbish", after_start(jpeg, late), "too_costly"
    yield "png of unknown chunks", after_header(png, chunk(b"abCd", b"") * 800_000), "too_costly"
    yield "png of texts", after_header(png, chunk(b"tEXt", b"a\0b") * 600_000), "too_costly"
    packed = zlib.compress(b"".join(b"\0" + bytes(160 * 3) for _ in range(120)))
    flood = chunk(b"IDAT", packed[:9]) + chunk(b"IDAT", b"") * 800_000 + chunk(b"IDAT", packed[9:])
    yield "png of empty pixels", header(160, 120) + flood + END, "too_costly"
    yield "png with much behind it", png[:-12] + chunk(b"abCd", b"") * 800_000 + END, "too_costly"
    rows = b"".join(chunk(b"IDAT", packed[at : at + 1]) for at in range(len(packed)))
    yield "png a byte a piece", header(160, 120) + rows + END, None
    yield (
        "webp of unknown chunks",
        webp_of(canvas(160, 120) + part(b"abcd", b"") * 1_200_000 + webp[12:]),
        None,
    )


def packed() -> Iterator[Made]:
    """Metadata that unpacks to much more than it is."""
    png = encoded(garment(), "PNG")
    zeros = zlib.compress(bytes(100_000_000))
    yield "png of a text bomb", after_header(png, chunk(b"zTXt", b"a\0\0" + zeros)), DAMAGED
    yield "png of a profile bomb", after_header(png, chunk(b"iCCP", b"a\0\0" + zeros)), DAMAGED
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(999_999)))
    yield "png of 200 texts", after_header(png, text * 200), "too_costly"
    profile = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1_040_000)))
    yield "png of 9,000 profiles", after_header(png, profile * 9_000), "too_costly"
    yield "png of 200 texts behind it", png[:-12] + text * 200 + END, "too_costly"
    broken = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1_000_000), 9)[:-20])
    yield "png of 9,000 broken profiles", after_header(png, broken * 9_000), "too_costly"
    world = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(999_999)))
    yield "png of packed XMP", after_header(png, world * 60), "too_costly"
    yield "png of a few of each", after_header(png, profile * 8 + text * 16 + world * 16), None
    tags = many_tags(2000, 1_000_000)
    yield "png of large tags", after_header(png, chunk(b"eXIf", tags)), None
    jpeg = encoded(garment(), "JPEG")[20:]  # without JFIF, so that Pillow looks into EXIF for its density
    bits = [tags[at : at + 65_000] for at in range(0, len(tags), 65_000)]
    exif = b"".join(segment(0xE1, b"Exif\0\0" + bit) for bit in bits)
    yield "jpeg of large tags", b"\xff\xd8" + exif + jpeg, "too_costly"
    few = b"".join(segment(0xE1, b"Exif\0\0" + bit) for bit in bits[:8])
    yield "jpeg of large tags that are fewer", b"\xff\xd8" + few + jpeg, None
    resources = segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\0\0\0\0" * 5_400)
    yield "jpeg of 810,000 resources", b"\xff\xd8" + resources * 150 + jpeg, "too_costly"
    webp = encoded(garment(), "WEBP")[12:]
    for kind, count in ((5, 1_060_000), (3, 4_000_000), (12, 1_000_000)):
        turned = b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHII", 0x0112, kind, count, 8) + bytes(8_500_000)
        flags = b"\x08" + canvas(160, 120)[9:]  # that there is EXIF
        body = canvas(160, 120)[:8] + flags + webp + part(b"EXIF", turned)
        yield f"webp turned {count:,} ways", webp_of(body), None
        yield f"png turned {count:,} ways", after_header(png, chunk(b"eXIf", turned)), None
    entry = struct.pack(">HHII", 0x0112, 5, 1_000_000, 8)
    again = b"MM\0*\0\0\0\x08" + struct.pack(">H", 65_000) + entry * 65_000 + bytes(8_500_000)
    yield "png turned 65,000 times", after_header(png, chunk(b"eXIf", again)), None


def odd() -> Iterator[Made]:
    """Nothing wrong with the picture; another decoder might think so."""
    picture = garment()
    jpeg, png, webp = (encoded(picture, format) for format in ("JPEG", "PNG", "WEBP"))
    yield "jpeg and archive", jpeg + archive(), None
    yield "jpeg and page", jpeg + b"<html><script>alert(1)</script></html>", None
    yield "jpeg with a page inside", after_start(jpeg, segment(0xFE, b"<script>alert(1)</script>")), None
    yield "jpeg and 9 MB of film", jpeg + np.random.default_rng(1).bytes(9_000_000), None
    yield "png and script", png + b"*/alert(1)//", None
    yield "png with php", after_header(png, chunk(b"tEXt", b"c\0<?php system($_GET[0]); ?>")), None
    yield "webp and archive", webp + archive(), None
    yield "gif, then jpeg", b"GIF89a" + jpeg, "format"
    yield "archive, then png", archive() + png, "not_an_image"
    yield "a page", b"<!DOCTYPE html><img src=x onerror=alert(1)>", "not_an_image"
    yield "an svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>", "format"
    yield "a gif", encoded(picture, "GIF"), "format"
    yield "a bmp", encoded(picture, "BMP"), "format"
    yield "a tiff", encoded(picture, "TIFF"), "format"
    yield "a pdf", b"%PDF-1.7\n" + bytes(100), "not_an_image"
    yield "nothing", b"", "empty"
    yield "zeros", bytes(5000), "not_an_image"
    yield "a byte", b"\xff", "not_an_image"
    yield "starts only", b"\xff\xd8\xff", "not_an_image"
    yield "20 MB", jpeg + bytes(20 * 2**20), "too_many_bytes"
    other = Image.new("RGB", picture.size, "black")
    yield "png that moves", encoded(picture, "PNG", save_all=True, append_images=[other]), "frames"
    yield "webp that moves", encoded(picture, "WEBP", save_all=True, append_images=[other]), "frames"
    yield "mpo", encoded(picture, "MPO", save_all=True, append_images=[garment(40, 30)]), None
    yield "jpeg in jpeg", after_start(jpeg, segment(0xE1, encoded(garment(40, 30), "JPEG"))), None
    yield "jpeg in png", after_header(png, chunk(b"abCd", jpeg)), None
    for width, height in ((1, 4000), (4000, 1), (7, 7)):
        yield f"png of {width} x {height}", encoded(garment(width, height), "PNG"), "too_small"
    yield "jpeg of 8 x 65,000", encoded(garment(8, 65_000), "JPEG"), None
    yield "png of 0 x 0", header(0, 0) + END, "not_an_image"
    for name, image in (
        ("16-bit", Image.new("I;16", (64, 64), 0x8000)),
        ("grey and transparency", Image.new("LA", (64, 64), (77, 128))),
        ("palette", picture.quantize(8)),
        ("black and white", picture.convert("1")),
    ):
        yield f"png of {name}", encoded(image, "PNG"), None
    yield "png palette without colours", header(64, 64, 8, 3) + png[33:], "*"
    lied = header(64, 64, 1, 3) + chunk(b"tRNS", b"\xff\xff") + png[8:]
    yield "png that changes its kind", lied, DAMAGED
    yield "jpeg in CMYK, as Adobe inverts it", encoded(picture.convert("CMYK"), "JPEG"), None
    for turn in range(9):
        exif = Image.Exif()
        exif[0x0112] = turn
        yield f"jpeg turned {turn}", encoded(picture, "JPEG", exif=exif), None
    rubbish = np.random.default_rng(2).bytes(60_000)
    yield "jpeg with rubbish for EXIF", after_start(jpeg, segment(0xE1, b"Exif\0\0" + rubbish)), None
    yield "jpeg with rubbish for ICC", encoded(picture, "JPEG", icc_profile=rubbish * 8), None
    yield "png with rubbish for ICC", encoded(picture, "PNG", icc_profile=rubbish), None
    yield "webp with rubbish for all", encoded(picture, "WEBP", icc_profile=rubbish, exif=rubbish), None
    yield "jpeg that says it is larger", resized(jpeg, 6000, 6000), "*"
    yield "jpeg that says it is smaller", resized(jpeg, 16, 16), "*"
    yield "jpeg that says it is nothing", resized(jpeg, 0, 0), "*"
    yield "png that says it is larger", header(4000, 4000) + png[33:], DAMAGED
    yield "webp that says it is larger", webp_of(canvas(3000, 3000) + webp[12:]), DAMAGED
    blank = encoded(Image.new("RGB", (3000, 3000)), "WEBP", lossless=True, method=0)
    yield "webp that says it is smaller", webp_of(canvas(64, 64) + blank[12:]), DAMAGED
    for name, whole in (("jpeg", jpeg), ("png", png), ("webp", webp), ("progressive", _progressive())):
        for tenth in range(1, 10):
            yield f"{name} cut at {tenth}/10", whole[: len(whole) * tenth // 10], "*"


def _progressive() -> bytes:
    return encoded(garment(), "JPEG", progressive=True)


_FAMILIES: tuple[Callable[[], Iterator[Made]], ...] = (bombs, scans, pieces, packed, odd)
# Where a file breaks off in its header, it may be no picture at all.
_EITHER = frozenset({None, DAMAGED, "not_an_image", "too_small"})


def cases() -> Iterator[Case]:
    """All of them, one at a time: several have 10 MB."""
    for family in _FAMILIES:
        for name, data, wanted in family():
            yield Case(name, data, _EITHER if wanted == "*" else frozenset({wanted}))
