import io
import resource
import struct
import zlib

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from serving.errors import BadImage
from serving.images.decode import Header, decode, inspect, verify


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, format, **options)
    return sink.getvalue()


def gradient(width: int, height: int) -> Image.Image:
    """Smooth, and different in every corner."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=2).astype(np.uint8))


def chunk(kind: bytes, body: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, rows: bytes) -> bytes:
    """A PNG with a header of one's own choosing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_the_accepted_formats(format: str) -> None:
    picture = gradient(60, 40)
    data = encoded(picture, format)
    pixels = decode(data)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (40, 60, 3)
    assert np.abs(pixels.astype(int) - np.asarray(picture)).max() < 24
    assert inspect(data) == verify(data) == Header(format, 60, 40)
    assert (decode(data) == pixels).all()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_picture_comes_smaller_but_not_below_what_is_asked(format: str) -> None:
    data = encoded(gradient(640, 480), format)
    assert decode(data, at_least=224).shape == (240, 320, 3)
    assert decode(data, at_least=240).shape == (240, 320, 3)
    assert decode(data, at_least=241).shape == (480, 640, 3)
    assert decode(data, at_least=1000).shape == (480, 640, 3)
    small = decode(data, at_least=100)
    assert small.shape == (120, 160, 3)
    assert np.abs(small.astype(int) - np.asarray(gradient(640, 480).reduce(4))).max() < 8


def test_a_large_picture_that_shrinks_is_put_together_from_strips() -> None:
    tall = gradient(301, 2777)
    small = decode(encoded(tall, "PNG"), at_least=100)
    assert (small == np.asarray(tall.reduce(2))).all()


@pytest.mark.parametrize("at_least", [None, 16, 30, 60])
@pytest.mark.parametrize(
    "data",
    [
        encoded(gradient(163, 121), "JPEG"),
        encoded(gradient(163, 121), "JPEG", progressive=True, subsampling=0),
        encoded(gradient(163, 121), "JPEG", subsampling=1),
        encoded(gradient(163, 121), "JPEG", keep_rgb=True),
        encoded(gradient(163, 121).convert("L"), "JPEG"),
        encoded(gradient(163, 121).convert("CMYK"), "JPEG"),
        encoded(gradient(163, 121), "MPO", save_all=True, append_images=[gradient(40, 30)]),
    ],
    ids=["420", "progressive 444", "422", "rgb", "grey", "cmyk", "mpo"],
)
def test_a_jpeg_is_what_pillow_makes_of_it(data: bytes, at_least: int | None) -> None:
    image = Image.open(io.BytesIO(data))
    if at_least:
        image.draft(None, (at_least, at_least))
    assert (decode(data, at_least=at_least) == np.asarray(image.convert("RGB"))).all()


def test_a_jpeg_that_is_only_a_little_wrong_is_left_to_pillow() -> None:
    # A marker in the middle of the pixels, which libjpeg warns of and Pillow lets pass.
    middle = len(JPEG) * 3 // 4
    odd = JPEG[:middle] + b"\xff\xd0" + JPEG[middle + 2 :]
    with pytest.raises(ValueError, match="Corrupt JPEG data"):
        simplejpeg.decode_jpeg(odd, strict=True)
    image = Image.open(io.BytesIO(odd))
    assert (decode(odd) == np.asarray(image)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_as_the_camera_says(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(gradient(64, 32), format, exif=exif.tobytes())
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert (decode(data) == np.asarray(expected)).all()
    header = inspect(data)
    assert (header.width, header.height) == expected.size
    assert verify(data) == header


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_nonsense_in_the_metadata_does_not_cost_the_picture() -> None:
    data = encoded(gradient(64, 32), "JPEG", exif=b"Exif\0\0MM\0*\0\0\xff\xff\xff")
    assert decode(data).shape == (32, 64, 3)
    exif = Image.Exif()
    exif[0x0112] = 77
    assert decode(encoded(gradient(64, 32), "JPEG", exif=exif.tobytes())).shape == (32, 64, 3)
    for kind, values in ((5, 1_000_000), (3, 2), (2, 1), (3, 0)):  # not one number
        entry = struct.pack(">HHHIHH", 1, 0x0112, kind, values, 6, 0)
        data = encoded(gradient(64, 32), "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08" + entry + bytes(9))
        assert decode(data).shape == (32, 64, 3)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "letter"), [(1, "B3x"), (3, "H2x"), (4, "I")])
def test_a_turn_may_be_said_in_several_ways(order: str, kind: int, letter: str) -> None:
    start = {"<": b"II*\0\x08\0\0\0", ">": b"MM\0*\0\0\0\x08"}[order]
    entry = struct.pack(f"{order}HHHI", 1, 0x0112, kind, 1) + struct.pack(f"{order}{letter}", 6)
    for format in ("JPEG", "WEBP"):
        data = encoded(gradient(64, 32), format, exif=b"Exif\0\0" + start + entry + bytes(4))
        assert decode(data).shape == (64, 32, 3)


def exif_of(kind: int, count: int, value: bytes) -> bytes:
    """EXIF of nothing but an orientation."""
    return b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHI", 0x0112, kind, count) + value


@pytest.mark.parametrize(
    ("exif", "size"),
    [
        (exif_of(3, 1, b"\0\x06\0\0"), (32, 64)),
        (exif_of(4, 1, b"\0\0\0\x06"), (32, 64)),
        (exif_of(3, 2, b"\0\x06\0\x06"), (64, 32)),
        (exif_of(5, 1_000_000, b"\0\0\0\x08") + b"\x01" * 8_000_000, (64, 32)),
        (exif_of(3, 1, b"\0\x06\0\0") + bytes(100_000), (32, 64)),
        (exif_of(3, 1, b""), (64, 32)),
        (b"MM\0*\0\x02\0\0" + bytes(2**17 - 8) + exif_of(3, 1, b"\0\x06\0\0")[8:], (32, 64)),
        (b"neither", (64, 32)),
    ],
    ids=["short", "long", "two", "a million", "more behind it", "breaks off", "far behind", "rubbish"],
)
def test_the_orientation_is_one_number(exif: bytes, size: tuple[int, int]) -> None:
    still = encoded(gradient(64, 32), "PNG")
    header = inspect(still[:33] + chunk(b"eXIf", exif) + still[33:])
    assert (header.width, header.height) == size


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_as_xmp_says_where_exif_does_not(format: str) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'
    note = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    still = encoded(gradient(64, 32), format, **({} if format == "PNG" else {"xmp": xmp}))
    data = still[:33] + note + still[33:] if format == "PNG" else still
    assert inspect(data) == verify(data) == Header(format, 32, 64)
    assert decode(data).shape == (64, 32, 3)


def test_a_jpeg_of_several_pictures_is_its_first() -> None:
    data = encoded(gradient(64, 32), "MPO", save_all=True, append_images=[gradient(20, 20)])
    assert inspect(data) == Header("JPEG", 64, 32)
    assert decode(data).shape == (32, 64, 3)


def flat(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (16, 16), colour)  # type: ignore[arg-type]


def half_transparent_palette() -> bytes:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    return encoded(image, "PNG", transparency=bytes([128, 255]))


@pytest.mark.parametrize(
    ("data", "colour"),
    [
        (encoded(flat("RGBA", (255, 0, 0, 0)), "PNG"), (255, 255, 255)),
        (encoded(flat("RGBA", (255, 0, 0, 128)), "PNG"), (255, 127, 127)),
        (encoded(flat("RGBA", (255, 0, 0, 128)), "WEBP", lossless=True), (255, 127, 127)),
        (encoded(flat("LA", (0, 128)), "PNG"), (127, 127, 127)),
        (encoded(flat("L", 77), "PNG"), (77, 77, 77)),
        (encoded(flat("L", 77), "PNG", transparency=77), (255, 255, 255)),
        (encoded(flat("RGB", (1, 2, 3)), "PNG", transparency=(1, 2, 3)), (255, 255, 255)),
        (encoded(flat("1", 1), "PNG"), (255, 255, 255)),
        (encoded(flat("I;16", 0x8000), "PNG"), (128, 128, 128)),
        (half_transparent_palette(), (255, 127, 127)),
        (encoded(flat("CMYK", (0, 255, 255, 0)), "JPEG"), (254, 0, 0)),
        (encoded(flat("L", 77), "JPEG"), (77, 77, 77)),
    ],
)
def test_every_kind_of_colour_becomes_rgb_on_white(data: bytes, colour: tuple[int, int, int]) -> None:
    pixels = decode(data)
    assert pixels.shape == (16, 16, 3)
    assert np.abs(pixels.astype(int) - colour).max() <= 1


def test_a_tall_picture_is_put_together_from_strips() -> None:
    picture = gradient(8, 2500).convert("RGBA")
    expected = np.asarray(picture.convert("RGB"))
    assert (decode(encoded(picture, "PNG")) == expected).all()


GIF = encoded(gradient(20, 20), "GIF")
STILL, MOVED = gradient(20, 20), gradient(20, 20).rotate(90)
JPEG = encoded(gradient(200, 100), "JPEG")
BOMB = png(12_000, 12_000, zlib.compress(b"\0" * 1000))
LARGE_WEBP = b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\x3f\0" * 2 + b"\0" * 8


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        (b"", "empty", "the picture is empty"),
        (b"x" * 5001, "too_many_bytes", "the picture has 5,001 bytes; at most 5,000"),
        (b"hello, I am called .jpg", "not_an_image", "not a picture; send JPEG, PNG or WebP"),
        (GIF, "format", "the picture is a GIF; send JPEG, PNG or WebP"),
        (
            encoded(gradient(20, 20), "TIFF"),
            "format",
            "the picture is a TIFF; send JPEG, PNG or WebP",
        ),
        (
            b"\0\0\0\x1cftypavif" + b"\0" * 16,
            "format",
            "the picture is a AVIF; send JPEG, PNG or WebP",
        ),
        (
            b"\n<svg xmlns='http://www.w3.org/2000/svg'/>",
            "format",
            "the picture is a SVG; send JPEG, PNG or WebP",
        ),
        (
            BOMB,
            "too_many_pixels",
            "the picture has more than 40,000,000 pixels",
        ),
        (
            png(20_000, 20_000, b""),
            "too_many_pixels",
            "the picture has more than 40,000,000 pixels",
        ),
        (
            png(8_000, 8_000, b""),
            "too_many_pixels",
            "the picture is 8,000 x 8,000; at most 40,000,000 pixels",
        ),
        (
            LARGE_WEBP,
            "too_many_pixels",
            "the picture is 16,384 x 16,384; at most 40,000,000 pixels",
        ),
        (
            encoded(gradient(7, 300), "PNG"),
            "too_small",
            "the picture is 7 x 300; at least 8 a side",
        ),
        (
            encoded(STILL, "PNG", save_all=True, append_images=[MOVED]),
            "frames",
            "the picture is animated; send a still one",
        ),
        (
            encoded(STILL, "WEBP", save_all=True, append_images=[MOVED]),
            "frames",
            "the picture is animated; send a still one",
        ),
        (JPEG[: len(JPEG) // 2], "truncated", "the picture is damaged or breaks off"),
        (
            encoded(gradient(50, 50), "PNG")[:-60],
            "truncated",
            "the picture is damaged or breaks off",
        ),
        (
            encoded(gradient(50, 50), "WEBP")[:-60],
            "truncated",
            "the picture is damaged or breaks off",
        ),
    ],
)
def test_what_is_refused(data: bytes, reason: str, message: str) -> None:
    for look in (decode, verify):
        with pytest.raises(BadImage) as raised:
            look(data, max_bytes=5000)
        assert (raised.value.reason, raised.value.message) == (reason, message)


def test_a_truncated_jpeg_is_found_also_at_a_reduced_scale() -> None:
    with pytest.raises(BadImage, match="breaks off"):
        decode(JPEG[: len(JPEG) // 2], at_least=32)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadImage):
        decode(png(30_000, 30_000, zlib.compress(b"\0" * 50_000_000)))
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kb < 120_000  # what making the bomb itself takes
