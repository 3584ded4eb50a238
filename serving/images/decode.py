"""Hostile bytes to pixels: every picture that enters, in batch or online, comes through here.

The header is read first, so that a few kilobytes that claim 144 million pixels are refused before they
are unpacked (``cost``); then everything is decoded, so that a file that breaks off is refused too. Metadata
ends here.
"""

import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from serving.errors import BadImage
from serving.images import cost
from serving.images.orientation import orientation

MAX_BYTES = 10 * 2**20
MAX_PIXELS = 40_000_000
MIN_SIDE = 8  # pixels; smaller are tracking pixels and spacers

# Pillow warns between one and two times its own cap and raises above; here both are an error.
warnings.simplefilter("error", Image.DecompressionBombWarning)
# Whoever sends a damaged file does not also write our log.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_FORMATS = ("JPEG", "PNG", "WEBP")
# What people send instead, so that the message can name it.
_REFUSED = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"<svg": "SVG",
    b"\0\0\1\0": "ICO",
}
_REFUSED_BRANDS = {b"avif": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF"}
# What Pillow's readers were seen to raise on damaged files.
_DAMAGED = (OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, struct.error, zlib.error)

_STRIP_PIXELS = 2**21  # converted at once
_SIDEWAYS = frozenset({5, 6, 7, 8})


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture says it is: ``format`` JPEG, PNG or WEBP; pixels as it is seen upright."""

    format: str
    width: int
    height: int


def inspect(data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Header:
    """The header alone, checked; nothing is decoded. Raises ``BadImage``.

    A PNG that says only behind its pixels how it is turned is not turned here.
    """
    image = _open(data, max_bytes, max_pixels)
    return _header(image, image.size)


def verify(data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Header:
    """Read every byte of the picture, at the least cost, and forget the pixels. Raises ``BadImage``."""
    image = _open(data, max_bytes, max_pixels)
    size = image.size
    _load(image, at_least=1)
    return _header(image, size)


def decode(
    data: bytes,
    *,
    max_bytes: int = MAX_BYTES,
    max_pixels: int = MAX_PIXELS,
    at_least: int | None = None,
) -> NDArray[np.uint8]:
    """The upright picture, uint8 (h, w, 3) RGB, transparency on white.

    With ``at_least`` it may come at 1/2, 1/4 or 1/8 of its size, its shorter side not below ``at_least``
    pixels; the same bytes and arguments always give the same pixels. Raises ``BadImage``.
    """
    image = _open(data, max_bytes, max_pixels)
    shrink = _shrink(image.size, at_least)
    pixels = _plain_jpeg(data, image, shrink)
    if pixels is None:
        size = image.size
        _load(image, at_least)
        # A JPEG has shrunk by now; what else there is shrinks as its pixels are taken over.
        pixels = _pixels(image, shrink if image.size == size else 1)
    turned = orientation(image)
    del image  # a large picture is not held twice while it is turned
    return _upright(pixels, turned)


def _open(data: bytes, max_bytes: int, max_pixels: int) -> Image.Image:
    if not data:
        raise BadImage("empty", "the picture is empty")
    if len(data) > max_bytes:
        raise BadImage("too_many_bytes", f"the picture has {len(data):,} bytes; at most {max_bytes:,}")
    cost.check_claim(data, max_pixels)
    try:
        image = Image.open(cost.Counted(data), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadImage("too_many_pixels", f"the picture has more than {max_pixels:,} pixels") from None
    except UnidentifiedImageError:
        raise _not_accepted(data) from None
    except _DAMAGED:
        raise BadImage("truncated", "the picture is damaged or breaks off") from None
    cost.check(data, image, max_pixels)
    if min(image.size) < MIN_SIDE:
        raise BadImage(
            "too_small", f"the picture is {image.width} x {image.height}; at least {MIN_SIDE} a side"
        )
    # MPO is how phones write a JPEG with a depth or gain map behind it: the first frame is the picture.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise BadImage("frames", "the picture is animated; send a still one")
    return image


def _not_accepted(data: bytes) -> BadImage:
    start = data.lstrip()[:4]
    for magic, name in _REFUSED.items():
        if start.startswith(magic) or data.startswith(magic):
            return BadImage("format", f"the picture is a {name}; send JPEG, PNG or WebP")
    if data[4:8] == b"ftyp" and data[8:12] in _REFUSED_BRANDS:
        return BadImage("format", f"the picture is a {_REFUSED_BRANDS[data[8:12]]}; send JPEG, PNG or WebP")
    return BadImage("not_an_image", "not a picture; send JPEG, PNG or WebP")


def _load(image: Image.Image, at_least: int | None) -> None:
    if at_least is not None:
        image.draft(None, (at_least, at_least))  # does nothing but for JPEG
    try:
        image.load()
        _rgb(image.crop((0, 0, 1, 1)))  # a transparent colour may be one that its mode does not have
    except _DAMAGED:
        raise BadImage("truncated", "the picture is damaged or breaks off") from None


def _shrink(size: tuple[int, int], at_least: int | None) -> int:
    """By how much a picture of that size may shrink: 1, 2, 4 or 8, Pillow's own choice for a JPEG."""
    most = min(size) // at_least if at_least else 1
    return next((by for by in (8, 4, 2) if by <= most), 1)


def _plain_jpeg(data: bytes, image: Image.Image, shrink: int) -> NDArray[np.uint8] | None:
    """The pixels of a JPEG in colour or grey that has nothing wrong with it; of any other, nothing.

    Bit for bit Pillow's, which has the same libjpeg-turbo below it and two more copies of the pixels above:
    1.6 to 1.8 times as fast, and OpenCV, whose scaled pixels are other ones and which tells nobody of a file
    that breaks off, not faster (``python -m benchmarks.decode``).
    """
    if image.format not in {"JPEG", "MPO"} or image.mode not in {"RGB", "L"}:
        return None
    width, height = (-(-side // shrink) for side in image.size)
    try:
        # It takes the smallest of the scales n/8 that is no smaller than this: exactly 1/shrink.
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, "RGB", min_width=width, min_height=height, min_factor=1, strict=True
        )
    except ValueError:
        return None  # Pillow says what is wrong, or that it is not so bad
    return pixels if pixels.shape == (height, width, 3) else None


def _pixels(image: Image.Image, shrink: int) -> NDArray[np.uint8]:
    """uint8 (h, w, 3) RGB, strip by strip, so that no second picture of full size is made on the way."""
    pixels = np.empty((-(-image.height // shrink), -(-image.width // shrink), 3), np.uint8)
    rows = max(8, _STRIP_PIXELS // image.width // 8 * 8)  # a multiple of every ``shrink``
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        strip = _rgb(image.crop((0, top, image.width, bottom)))
        # The mean of the pixels that become one.
        pixels[top // shrink : -(-bottom // shrink)] = np.asarray(strip.reduce(shrink))
    return pixels


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip rather than scale
        grey = np.asarray(image).astype(np.uint16) >> 8
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(layer, mask=layer.getchannel("A"))
        return white
    return image.convert("RGB")


def _header(image: Image.Image, size: tuple[int, int]) -> Header:
    width, height = size
    if orientation(image) in _SIDEWAYS:
        width, height = height, width
    return Header("JPEG" if image.format == "MPO" else str(image.format), width, height)


def _upright(pixels: NDArray[np.uint8], way: int) -> NDArray[np.uint8]:
    """``way`` is what ``orientation`` says."""
    turned = pixels.view("V3")[..., 0]  # a pixel as one value: half the time of three
    if way in _SIDEWAYS:
        turned = turned.T
    if way in {2, 3, 6, 7}:
        turned = turned[:, ::-1]
    if way in {3, 4, 7, 8}:
        turned = turned[::-1]
    return np.ascontiguousarray(turned)[..., None].view(np.uint8)
