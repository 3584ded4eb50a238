"""What unpacking a picture would take, known from its header: refused where it is too much.

Caps are of the worst that a format can do, so that no picture takes a second or ``MEMORY_BYTES``
(``tests/fuzz``). Where a picture comes smaller than it is, it takes less.
"""

import io
import math

from PIL import Image, JpegImagePlugin

from serving.errors import BadImage
from serving.images.scans import scans

MEMORY_BYTES = 256 * 10**6
MAX_SIDE = 65_535  # pixels, as in a JPEG; even a few rows of a longer one are large

_RGB_BYTES = 3
# libwebp keeps two canvases of 4 bytes a pixel, Pillow a copy on the way to its own picture.
_WEBP_PIXELS = MEMORY_BYTES // (16 + _RGB_BYTES)
# By time: one of 16 bits a channel, interlaced, takes three times as long as any other picture.
_PNG_PIXELS = 24_000_000
_CMYK_BYTES = 4  # Pillow's; a JPEG in colour or grey is decoded into our own 3
# Scans times pixels. Encoders write 10 scans or so.
_SCANNED_PIXELS = 500_000_000
# Pillow reads segments and chunks one by one, in Python, and millions of empty ones fit into 10 MB.
_MOST_READS = 20_000
# By a file's first bytes: how often what Pillow unpacks on opening may be there, wherever it stands. A colour
# profile and a packed text of a PNG are up to a megabyte each; each Exif is added to those before; a resource
# of Photoshop's is a turn of a loop.
_METADATA = {
    b"\x89PNG": {b"iCCP": 8, b"zTXt": 16, b"iTXt": 16},
    b"\xff\xd8": {b"Exif\0\0": 8, b"8BIM": 5_000},
}


class Counted(io.BytesIO):
    """A file for Pillow that is read a bounded number of times. Raises ``BadImage`` past it."""

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > _MOST_READS:
            raise BadImage("too_costly", "the picture is in too many pieces; save it anew")
        return super().read(size)


def check_claim(data: bytes, max_pixels: int) -> None:
    """Before Pillow opens it: it unpacks metadata then, and makes room for a WebP's pixels.

    Raises ``BadImage``.
    """
    for start, pieces in _METADATA.items():
        if data.startswith(start):
            for mark, most in pieces.items():
                if data.count(mark) > most:
                    raise BadImage("too_costly", "the picture has metadata without end; save it anew")
    canvas = _webp_canvas(data)
    if canvas is not None:
        _check_size(canvas, max_pixels, "WebP", _WEBP_PIXELS)


def check(data: bytes, image: Image.Image, max_pixels: int) -> None:
    """Once it is opened, and before it is loaded. Raises ``BadImage``."""
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        _check_jpeg(data, image, max_pixels)
    elif image.format == "PNG":
        _check_size(image.size, max_pixels, "PNG", _PNG_PIXELS)
    else:
        _check_size(image.size, max_pixels, "WebP", _WEBP_PIXELS)


def _check_jpeg(data: bytes, image: JpegImagePlugin.JpegImageFile, max_pixels: int) -> None:
    kind, a_pixel = "JPEG", _RGB_BYTES
    if image.mode == "CMYK":
        kind, a_pixel = "JPEG in CMYK", a_pixel + _CMYK_BYTES
    times = scans(data)
    if times > 1:  # every coefficient, of 2 bytes, is kept until the last scan has come
        parts = [(across, down) for _, across, down, _ in image.layer]
        whole = max((across for across, _ in parts), default=1) * max((down for _, down in parts), default=1)
        kind = f"progressive {kind}"
        a_pixel += math.ceil(2 * sum(across * down for across, down in parts) / max(1, whole))
    _check_size(image.size, max_pixels, kind, MEMORY_BYTES // a_pixel)
    most = max(1, _SCANNED_PIXELS // (image.width * image.height))
    if times > most:
        raise BadImage("too_costly", f"the picture has {times:,} scans; at most {most:,} at its size")


def _check_size(size: tuple[int, int], max_pixels: int, kind: str, most: int) -> None:
    """``most``: pixels of a picture of this ``kind``."""
    width, height = size
    if width * height > max_pixels:
        limit = f"{max_pixels:,} pixels"
    elif width * height > most:
        limit = f"{most:,} pixels of a {kind}"
    elif max(size) > MAX_SIDE:
        limit = f"{MAX_SIDE:,} a side"
    else:
        return
    raise BadImage("too_many_pixels", f"the picture is {width:,} x {height:,}; at most {limit}")


def _webp_canvas(data: bytes) -> tuple[int, int] | None:
    """Width and height that a WebP claims (RFC 9649, 2.5 to 2.7)."""
    if not (data.startswith(b"RIFF") and data[8:12] == b"WEBP" and len(data) >= 30):
        return None
    if data[12:16] == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    if data[12:16] == b"VP8 ":
        return (
            int.from_bytes(data[26:28], "little") & 0x3FFF,
            int.from_bytes(data[28:30], "little") & 0x3FFF,
        )
    return None
