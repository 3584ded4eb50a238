"""How a picture is turned, read from its metadata at a bounded cost.

Pillow's own reader copies the value of every tag: a few megabytes that say each is all of them take seconds.
"""

import re
import struct

from PIL import Image

UPRIGHT = 1
_TAG = 0x0112
_START = b"Exif\0\0"
# Of the values of TIFF 6.0 that hold one number: how they are read.
_KINDS = {1: "B", 3: "H", 4: "I"}
_MOST_TAGS = 1_000  # of a first directory; cameras write some dozens
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def orientation(image: Image.Image) -> int:
    """1 to 8 (EXIF 2.32, 4.6.4), by EXIF, else by XMP; 1 where there is none, or nonsense."""
    found = _of_exif(image.info.get("exif"))
    if found is None:
        found = _of_xmp(image.info.get("XML:com.adobe.xmp") or image.info.get("xmp"))
    return UPRIGHT if found is None or not 1 <= found <= 8 else found


def _of_exif(exif: object) -> int | None:
    """None where nothing is said, 0 for nonsense."""
    if not isinstance(exif, bytes):
        return None
    data = memoryview(exif)[len(_START) if exif.startswith(_START) else 0 :]
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None or len(data) < 8:
        return None
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    if at + 2 > len(data):
        return None
    (count,) = struct.unpack_from(f"{order}H", data, at)
    tags = data[at + 2 : at + 2 + 12 * min(count, _MOST_TAGS)]
    for tag, kind, values, value in struct.iter_unpack(f"{order}HHI4s", tags[: len(tags) // 12 * 12]):
        if tag == _TAG:
            if values != 1 or kind not in _KINDS:
                return 0
            number: int = struct.unpack_from(f"{order}{_KINDS[kind]}", value)[0]
            return number
    return None


def _of_xmp(xmp: object) -> int | None:
    data = xmp.encode("utf-8", "replace") if isinstance(xmp, str) else xmp
    found = _XMP.search(data) if isinstance(data, bytes) else None
    return None if found is None else int(found[1])
